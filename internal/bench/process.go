package main

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
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// process is a child process that answers at a URL.
type process struct {
	URL  string
	cmd  *exec.Cmd
	quit io.Closer     // its standard input, if closing that ends it
	log  *bytes.Buffer // what it wrote to standard error; to be read when it has ended
}

// startChild starts this program once more, with args.
func startChild(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, args...), log: &bytes.Buffer{}} //nolint:noctx // stop ends it
	p.cmd.Stderr = p.log
	if p.quit, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s has not started: %w", strings.Join(args, " "), err), p.stop())
	}
	p.URL = strings.TrimSpace(line)
	return p, nil
}

// stop ends the process.
func (p *process) stop() error {
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

// buildExporter builds the exporter as "make build" does, and returns its path.
func buildExporter(dir string) (string, error) {
	path := filepath.Join(dir, "lakefs_import_exporter")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "lakefs_import_exporter") //nolint:noctx // it ends by itself
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the exporter: %w\n%s", err, out)
	}
	return path, nil
}

// runExporter starts the exporter in dir, which has its config.yml, and waits
// until it is ready.
func runExporter(binary, dir string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{URL: "http://" + address, log: &bytes.Buffer{}}
	p.cmd = exec.Command(binary, "--web.listen-address="+address, "--log.level=warn") //nolint:noctx // stop ends it
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
			return nil, errors.Join(errors.New("the exporter does not get ready"), p.stop())
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

// cpu returns the CPU time that the process has used, to 10 ms.
func (p *process) cpu() (time.Duration, error) {
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return time.Duration(stat.CPUTime() * float64(time.Second)), err
}

// memory returns the bytes that the process has in memory, and the most that it had.
func (p *process) memory() (resident, most float64, err error) {
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	status, err := proc.NewStatus()
	return float64(status.VmRSS), float64(status.VmHWM), err
}
