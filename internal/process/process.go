// Package process runs child processes, the exporter among them, and tells what
// they take of the machine. It is for the programs that measure.
package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is a child process that answers at a URL.
type Process struct {
	URL  string
	cmd  *exec.Cmd
	quit io.Closer
	log  *bytes.Buffer // what it wrote to standard error; to be read when it has ended
}

// StartChild starts this program once more, with args.
func StartChild(args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(self, args...), log: &bytes.Buffer{}} //nolint:noctx // Stop ends it
	p.cmd.Stderr = p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.quit = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s has not started: %w", strings.Join(args, " "), err), p.Stop())
	}
	p.URL = strings.TrimSpace(line)
	return p, nil
}

// Stop ends the process.
func (p *Process) Stop() error {
	if p.quit != nil {
		_ = p.quit.Close()
	} else {
		_ = p.cmd.Process.Signal(os.Interrupt)
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(p.cmd.Path), err, p.log)
	}
	return nil
}

// BuildExporter builds the exporter as "make build" does, or with the race
// detector, and returns its path.
func BuildExporter(dir string, race bool) (string, error) {
	path := filepath.Join(dir, "lakefs_import_exporter")
	args, cgo := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, "CGO_ENABLED=0"
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "lakefs_import_exporter")...) //nolint:noctx // it ends by itself
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the exporter: %w\n%s", err, out)
	}
	return path, nil
}

// StartExporter starts the exporter in dir, which has its config.yml, and waits
// until it is ready.
func StartExporter(binary, dir string, args ...string) (*Process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &Process{URL: "http://" + address, log: &bytes.Buffer{}}
	p.cmd = exec.Command(binary, append(args, "--web.listen-address="+address, "--log.level=warn")...) //nolint:noctx // Stop ends it
	p.cmd.Dir = dir
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		resp, err := http.Get(p.URL + "/-/ready") //nolint:noctx // it has 30 s
		if err == nil {
			return p, resp.Body.Close()
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("the exporter does not get ready"), p.Stop())
		}
	}
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it takes no time
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// CPU returns the CPU time that the process has used, to 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// Behind the name, which ends with the last parenthesis: utime and stime
	// are the 12th and 13th, in ticks of which every Linux has 100 a second.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc: not understood: %q", stat)
	}
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("/proc: not understood: %q", stat)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Memory returns a number of bytes from the status of the process, such as VmRSS.
func (p *Process) Memory(key string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kB, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kB * 1024, err
		}
	}
	return 0, fmt.Errorf("/proc: %s is missing", key)
}

// Files returns how many files the process has open.
func (p *Process) Files() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }
