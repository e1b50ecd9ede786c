package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	defaultFileMode   = 0o644 // of a file that comes without permissions
	defaultListLength = 50    // of a list of files without a limit
)

// guestFiles works on files in guests.
type guestFiles struct {
	mo.GuestFileManager
	unlocked
	lab *Lab
}

// work does something in a guest's file system, and gives what went wrong in it as the API's fault.
func (m *guestFiles) work(ctx *simulator.Context, vm types.ManagedObjectReference, auth types.BaseGuestAuthentication, path string, do func(*visit) error) *soap.Fault {
	v, fault := m.lab.visit(ctx, vm, auth)
	if fault != nil {
		return fault
	}
	if path == "" {
		return simulator.Fault("a path is missing", &types.InvalidArgument{InvalidProperty: "path"})
	}
	if err := do(v); err != nil {
		return simulator.Fault(err.Error(), fileFault(err, path))
	}
	return nil
}

// MakeDirectoryInGuest makes a directory.
func (m *guestFiles) MakeDirectoryInGuest(ctx *simulator.Context, req *types.MakeDirectoryInGuest) soap.HasFault {
	body := new(methods.MakeDirectoryInGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.DirectoryPath, func(v *visit) error {
		path := v.inside(req.DirectoryPath)
		if req.CreateParentDirectories {
			return os.MkdirAll(path, 0o755)
		}
		return os.Mkdir(path, 0o755)
	})
	if body.Fault_ == nil {
		body.Res = new(types.MakeDirectoryInGuestResponse)
	}
	return body
}

// DeleteDirectoryInGuest removes a directory.
func (m *guestFiles) DeleteDirectoryInGuest(ctx *simulator.Context, req *types.DeleteDirectoryInGuest) soap.HasFault {
	body := new(methods.DeleteDirectoryInGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.DirectoryPath, func(v *visit) error {
		path := v.inside(req.DirectoryPath)
		if err := expect(path, true); err != nil {
			return err
		}
		if req.Recursive {
			return os.RemoveAll(path)
		}
		return os.Remove(path)
	})
	if body.Fault_ == nil {
		body.Res = new(types.DeleteDirectoryInGuestResponse)
	}
	return body
}

// DeleteFileInGuest removes a file.
func (m *guestFiles) DeleteFileInGuest(ctx *simulator.Context, req *types.DeleteFileInGuest) soap.HasFault {
	body := new(methods.DeleteFileInGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.FilePath, func(v *visit) error {
		path := v.inside(req.FilePath)
		if err := expect(path, false); err != nil {
			return err
		}
		return os.Remove(path)
	})
	if body.Fault_ == nil {
		body.Res = new(types.DeleteFileInGuestResponse)
	}
	return body
}

// MoveFileInGuest renames a file.
func (m *guestFiles) MoveFileInGuest(ctx *simulator.Context, req *types.MoveFileInGuest) soap.HasFault {
	body := new(methods.MoveFileInGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.SrcFilePath, func(v *visit) error {
		from, to := v.inside(req.SrcFilePath), v.inside(req.DstFilePath)
		if err := expect(from, false); err != nil {
			return err
		}
		if _, err := os.Lstat(to); err == nil && !req.Overwrite {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	})
	if body.Fault_ == nil {
		body.Res = new(types.MoveFileInGuestResponse)
	}
	return body
}

// CreateTemporaryFileInGuest makes an empty file that only its owner can use, and gives its real path.
func (m *guestFiles) CreateTemporaryFileInGuest(ctx *simulator.Context, req *types.CreateTemporaryFileInGuest) soap.HasFault {
	body := new(methods.CreateTemporaryFileInGuestBody)
	var path string
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, temporary(req.DirectoryPath), func(v *visit) error {
		file, err := os.CreateTemp(v.inside(temporary(req.DirectoryPath)), req.Prefix+"*"+req.Suffix)
		if err != nil {
			return err
		}
		path = file.Name()
		return file.Close()
	})
	if body.Fault_ == nil {
		body.Res = &types.CreateTemporaryFileInGuestResponse{Returnval: path}
	}
	return body
}

// CreateTemporaryDirectoryInGuest makes a directory that only its owner can use, and gives its real path.
func (m *guestFiles) CreateTemporaryDirectoryInGuest(ctx *simulator.Context, req *types.CreateTemporaryDirectoryInGuest) soap.HasFault {
	body := new(methods.CreateTemporaryDirectoryInGuestBody)
	var path string
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, temporary(req.DirectoryPath), func(v *visit) (err error) {
		path, err = os.MkdirTemp(v.inside(temporary(req.DirectoryPath)), req.Prefix+"*"+req.Suffix)
		return err
	})
	if body.Fault_ == nil {
		body.Res = &types.CreateTemporaryDirectoryInGuestResponse{Returnval: path}
	}
	return body
}

// ChangeFileAttributesInGuest sets times, permissions and owners.
func (m *guestFiles) ChangeFileAttributesInGuest(ctx *simulator.Context, req *types.ChangeFileAttributesInGuest) soap.HasFault {
	body := new(methods.ChangeFileAttributesInGuestBody)
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.GuestFilePath, func(v *visit) error {
		return setAttributes(v.inside(req.GuestFilePath), req.FileAttributes)
	})
	if body.Fault_ == nil {
		body.Res = new(types.ChangeFileAttributesInGuestResponse)
	}
	return body
}

// ListFilesInGuest lists what is in a directory, by name, or the one file.
func (m *guestFiles) ListFilesInGuest(ctx *simulator.Context, req *types.ListFilesInGuest) soap.HasFault {
	body := new(methods.ListFilesInGuestBody)
	pattern, err := regexp.Compile(req.MatchPattern)
	if err != nil {
		body.Fault_ = simulator.Fault(err.Error(), &types.InvalidArgument{InvalidProperty: "matchPattern"})
		return body
	}
	list := types.GuestListFileInfo{}
	body.Fault_ = m.work(ctx, req.Vm, req.Auth, req.FilePath, func(v *visit) error {
		files, err := listFiles(v.inside(req.FilePath), req.FilePath)
		if err != nil {
			return err
		}
		files = slices.DeleteFunc(files, func(f types.GuestFileInfo) bool { return !pattern.MatchString(f.Path) })
		from := min(max(0, int(req.Index)), len(files))
		limit := defaultListLength
		if req.MaxResults > 0 {
			limit = int(req.MaxResults)
		}
		to := min(len(files), from+limit)
		list.Files, list.Remaining = files[from:to], int32(len(files)-to)
		return nil
	})
	if body.Fault_ == nil {
		body.Res = &types.ListFilesInGuestResponse{Returnval: list}
	}
	return body
}

func listFiles(path, asked string) ([]types.GuestFileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []types.GuestFileInfo{describe(path, asked, info)}, nil
	}
	files := []types.GuestFileInfo{describe(path, ".", info), describe(path, "..", info)}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil { // else it has gone in the meantime
			files = append(files, describe(filepath.Join(path, entry.Name()), entry.Name(), info))
		}
	}
	return files, nil
}

func describe(path, name string, info fs.FileInfo) types.GuestFileInfo {
	kind := types.GuestFileTypeFile
	switch {
	case info.IsDir():
		kind = types.GuestFileTypeDirectory
	case info.Mode()&fs.ModeSymlink != 0:
		kind = types.GuestFileTypeSymlink
	}
	return types.GuestFileInfo{Path: name, Type: string(kind), Size: info.Size(), Attributes: attributes(path, info)}
}

// attributes gives what the API calls a file's attributes.
func attributes(path string, info fs.FileInfo) *types.GuestPosixFileAttributes {
	modified := info.ModTime()
	a := &types.GuestPosixFileAttributes{Permissions: int64(info.Mode().Perm())}
	a.ModificationTime, a.AccessTime = &modified, &modified
	if info.Mode()&fs.ModeSymlink != 0 {
		a.SymlinkTarget, _ = os.Readlink(path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner, group := int32(stat.Uid), int32(stat.Gid)
		a.OwnerId, a.GroupId = &owner, &group
	}
	return a
}

// setAttributes sets the times, permissions and owners that are given. Only root can give files away, as in a guest.
func setAttributes(path string, given types.BaseGuestFileAttributes) error {
	if given == nil {
		return nil
	}
	if posix, ok := given.(*types.GuestPosixFileAttributes); ok && posix.Permissions != 0 {
		if err := os.Chmod(path, fs.FileMode(posix.Permissions).Perm()); err != nil {
			return err
		}
	}
	if posix, ok := given.(*types.GuestPosixFileAttributes); ok && (posix.OwnerId != nil || posix.GroupId != nil) {
		if err := os.Lchown(path, numberOr(posix.OwnerId), numberOr(posix.GroupId)); err != nil {
			return err
		}
	}
	a := given.GetGuestFileAttributes()
	if a.ModificationTime == nil && a.AccessTime == nil {
		return nil
	}
	return os.Chtimes(path, timeOr(a.AccessTime), timeOr(a.ModificationTime))
}

// numberOr gives the number of a user or group, or -1, which os.Lchown leaves as it is.
func numberOr(id *int32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

func timeOr(t *time.Time) time.Time {
	if t == nil {
		return time.Time{} // which os.Chtimes leaves as it is
	}
	return *t
}

// expect reports whether a path is a directory or something else.
func expect(path string, directory bool) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case directory && !info.IsDir():
		return syscall.ENOTDIR
	case !directory && info.IsDir():
		return syscall.EISDIR
	}
	return nil
}

func temporary(directory string) string {
	if directory == "" {
		return "/tmp"
	}
	return directory
}

// chosen picks variables by name out of an environment; no names mean all.
func chosen(environment, names []string) []string {
	if len(names) == 0 {
		return environment
	}
	return slices.DeleteFunc(environment, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(names, name)
	})
}
