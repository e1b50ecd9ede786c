package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	caFile          = "ca.pem"
	certificateFile = "server.pem"
	keyFile         = "server-key.pem"

	certificateLife = 365 * 24 * time.Hour
	certificateRest = 24 * time.Hour // a certificate that expires sooner than this is replaced
)

// serverCertificate reads the server's certificate out of a folder, and makes one there, with an authority of its own,
// where none that is good for another day is found. The authority's key is thrown away: it signs one certificate ever.
func serverCertificate(dir string) (tls.Certificate, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	if certificate, err := loadCertificate(dir); err == nil {
		return certificate, nil
	}
	if err := makeCertificate(dir); err != nil {
		return tls.Certificate{}, err
	}
	return loadCertificate(dir)
}

func loadCertificate(dir string) (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile))
	if err != nil {
		return certificate, err
	}
	authority, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return certificate, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		DNSName:     "127.0.0.1",
		CurrentTime: time.Now().Add(certificateRest),
	})
	return certificate, err
}

func makeCertificate(dir string) error {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{CommonName: "Customization gate lab CA", Organization: []string{"Customization gate lab"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return err
	}
	// Signing with the parsed certificate copies its key identifier, which strict verifiers look for.
	if authority, err = x509.ParseCertificate(authorityDER); err != nil {
		return err
	}

	server := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"Customization gate lab"}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), authorityKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return err
	}

	for name, block := range map[string]*pem.Block{
		caFile:          {Type: "CERTIFICATE", Bytes: authorityDER},
		certificateFile: {Type: "CERTIFICATE", Bytes: serverDER},
		keyFile:         {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := writeFileAtomically(filepath.Join(dir, name), pem.EncodeToMemory(block)); err != nil {
			return err
		}
	}
	return nil
}

func serialNumber() *big.Int {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no randomness: nothing that follows could be safe
	}
	return serial
}

// thumbprint is the SHA-256 of the certificate in the form that vSphere clients take: "AA:BB:..".
func thumbprint(certificate tls.Certificate) string {
	sum := sha256.Sum256(certificate.Certificate[0])
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

// writeFileAtomically writes a file that only its owner can read; a reader sees all of it or the old one.
func writeFileAtomically(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
