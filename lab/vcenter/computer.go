package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// computer simulates the operating system of one guest: a folder, and real processes of this computer.
//
// It isolates names, not rights. A path that the guest operations name lies in the folder, where "/tmp/x" is
// "<folder>/tmp/x"; temporary files and folders are given back by their real path, so that it holds good in scripts,
// too. Processes start in the folder, with HOME and TMPDIR in it, and run the programs of this computer. What a script
// itself names absolutely is this computer's file, and every process has the rights of the lab's user. Processes end
// when the guest goes down, unless one has cleared its environment, which holds the mark of its guest.
type computer struct {
	root string
	mark string

	mu        sync.Mutex
	processes map[int64]*process
}

// process is one program that guest operations have started.
type process struct {
	info  types.GuestProcessInfo
	code  int32
	child *os.Process
}

// markVariable in a process's environment names the guest that it belongs to; it names the guest's folder.
const markVariable = "LAB_GUEST_ROOT"

// newComputer makes the folder of a guest, empty but for the places that every Linux has.
func newComputer(root string) (*computer, error) {
	if err := os.RemoveAll(root); err != nil {
		return nil, err
	}
	for name, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "root": 0o700, "home": 0o755, "etc": 0o755, "var/log": 0o755} {
		folder := filepath.Join(root, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(folder, mode); err != nil { // MkdirAll goes by the umask
			return nil, err
		}
	}
	return &computer{root: root, mark: markVariable + "=" + root, processes: make(map[int64]*process)}, nil
}

// inside gives the real path of a path in the guest. What is in the folder already stays as it is.
func (c *computer) inside(path string) string {
	path = filepath.Clean("/" + path)
	if path == c.root || strings.HasPrefix(path, c.root+"/") {
		return path
	}
	return filepath.Join(c.root, path)
}

// home gives the home folder of a user, and makes it.
func (c *computer) home(user string) string {
	home := filepath.Join(c.root, "home", filepath.Base(user))
	if user == "root" {
		home = filepath.Join(c.root, "root")
	}
	_ = os.MkdirAll(home, 0o700) // a process that cannot start there says so
	return home
}

// environment is the default environment of a user's program.
func (c *computer) environment(user, hostName string) []string {
	return []string{
		// The variable holds programs that only guests have, such as a stand-in for cloud-init.
		"PATH=" + strings.TrimPrefix(os.Getenv("LAB_GUEST_PATH")+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":"),
		"HOME=" + c.home(user),
		"TMPDIR=" + filepath.Join(c.root, "tmp"),
		"USER=" + user,
		"LOGNAME=" + user,
		"HOSTNAME=" + hostName,
		"SHELL=/bin/sh",
		"LANG=C.UTF-8",
	}
}

// program finds the file to run: the guest's own, or else one of this computer.
func (c *computer) program(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fs.ErrNotExist
	}
	err := error(fs.ErrNotExist)
	for _, candidate := range []string{c.inside(path), path} {
		info, found := os.Stat(candidate)
		switch {
		case found != nil:
		case info.IsDir() || info.Mode()&0o111 == 0:
			err = fs.ErrPermission
		default:
			return candidate, nil
		}
	}
	return "", err
}

// start runs a program as VMware Tools do on Linux: a shell gets the program and its arguments unchanged, so that
// redirections work and quoting is the caller's.
func (c *computer) start(spec *types.GuestProgramSpec, user, hostName string, memory time.Duration) (int64, error) {
	program, err := c.program(spec.ProgramPath)
	if err != nil {
		return 0, err
	}
	command := exec.Command("/bin/sh", "-c", quoted(program)+" "+spec.Arguments)
	command.Dir = c.home(user)
	if spec.WorkingDirectory != "" {
		command.Dir = c.inside(spec.WorkingDirectory)
	}
	if info, err := os.Stat(command.Dir); err != nil || !info.IsDir() {
		return 0, &fs.PathError{Op: "chdir", Path: spec.WorkingDirectory, Err: fs.ErrNotExist}
	}
	// Variables that a caller gives are all that the program has, as the API says.
	command.Env = slices.Clone(spec.EnvVariables)
	if len(command.Env) == 0 {
		command.Env = c.environment(user, hostName)
	}
	command.Env = append(command.Env, c.mark)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	c.mu.Lock()
	defer c.mu.Unlock()
	started := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	pid := int64(command.Process.Pid)
	p := &process{child: command.Process, info: types.GuestProcessInfo{
		Name: filepath.Base(spec.ProgramPath), Pid: pid, Owner: user,
		CmdLine: quoted(spec.ProgramPath) + " " + spec.Arguments, StartTime: started,
	}}
	c.processes[pid] = p
	go func() {
		_ = command.Wait() // what it says is in the state, too
		c.mu.Lock()
		defer c.mu.Unlock()
		ended := time.Now()
		p.info.EndTime, p.code, p.child = &ended, int32(command.ProcessState.ExitCode()), nil
		time.AfterFunc(memory, func() { c.forget(pid, p) })
	}()
	return pid, nil
}

// forget removes an ended process. Its number may belong to another one by now.
func (c *computer) forget(pid int64, p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.processes[pid] == p {
		delete(c.processes, pid)
	}
}

// list gives the processes with the numbers, or all.
func (c *computer) list(pids []int64) []process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []process
	for pid, p := range c.processes {
		if len(pids) == 0 || slices.Contains(pids, pid) {
			found = append(found, *p)
		}
	}
	slices.SortFunc(found, func(a, b process) int { return int(a.info.Pid - b.info.Pid) })
	return found
}

// terminate ends one process. Its children continue to run, as in a real guest. It is false without such a process.
func (c *computer) terminate(pid int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.processes[pid]
	if p == nil || p.child == nil {
		return false
	}
	return p.child.Kill() == nil
}

// halt ends every process of the guest and removes all records, as a power-off does.
func (c *computer) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		if p.child != nil {
			_ = syscall.Kill(-p.child.Pid, syscall.SIGKILL) // it may have just ended
		}
	}
	clear(c.processes)
	killMarked(c.mark)
}

// killMarked ends the processes that have left their group but not their environment. It needs Linux's /proc. A process
// that has just been forked is not in a list that was read before, so it looks again until nothing is left.
func killMarked(mark string) {
	for range 100 {
		if !killListed(mark) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// killListed ends the processes with the mark that are in the list now, and reports whether there were any.
func killListed(mark string) (found bool) {
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return false
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil || !slices.Contains(strings.Split(string(content), "\x00"), mark) {
			continue // another user's, ended, or not ours
		}
		if process, err := os.FindProcess(atoi(filepath.Base(filepath.Dir(name)))); err == nil {
			found = process.Kill() == nil || found
		}
	}
	return found
}

// quoted makes a word for the shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// fileFault makes an error of the file system into the API's fault.
func fileFault(err error, path string) types.BaseMethodFault {
	file := types.FileFault{File: path}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &types.FileNotFound{FileFault: file}
	case errors.Is(err, syscall.ENOTEMPTY): // which also counts as ErrExist
		return &types.DirectoryNotEmpty{FileFault: file}
	case errors.Is(err, fs.ErrExist):
		return &types.FileAlreadyExists{FileFault: file}
	case errors.Is(err, syscall.ENOTDIR):
		return &types.NotADirectory{FileFault: file}
	case errors.Is(err, syscall.EISDIR):
		return &types.NotAFile{FileFault: file}
	case errors.Is(err, fs.ErrPermission):
		return new(types.GuestPermissionDenied)
	default:
		return &types.CannotAccessFile{FileFault: file}
	}
}
