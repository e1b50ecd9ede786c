package main

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	temporaryPrefix = "lab-vcenter-"
	lockName        = "lock"

	// youngFolder is the age below which a folder without a lock may be one whose lab has not come to lock it.
	youngFolder = time.Minute
)

// temporaryFolder makes the folder for all that ends with the program, and removes those of labs that were killed. The
// folder's lock is held as long as the program runs; the returned function removes the folder.
func temporaryFolder() (string, func(), error) {
	removeAbandoned(os.TempDir())
	folder, err := os.MkdirTemp("", temporaryPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Create(filepath.Join(folder, lockName))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = os.RemoveAll(folder)
		return "", nil, err
	}
	return folder, func() {
		_ = os.RemoveAll(folder) // what is left, the next lab removes
		_ = lock.Close()
	}, nil
}

// removeAbandoned removes the folders that no living lab has locked.
func removeAbandoned(parent string) {
	folders, err := filepath.Glob(filepath.Join(parent, temporaryPrefix+"*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || time.Since(info.ModTime()) < youngFolder {
			continue
		}
		lock, err := os.Open(filepath.Join(folder, lockName))
		if err != nil {
			continue // no folder of a lab
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder) // another user's, perhaps
		}
		_ = lock.Close()
	}
}
