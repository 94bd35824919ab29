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
	"strconv"
	"strings"
	"time"
)

// process is a child process that answers at a URL.
type process struct {
	url  string
	cmd  *exec.Cmd
	quit io.Closer
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
		return nil, errors.Join(fmt.Errorf("%s has not started: %w", strings.Join(args, " "), err), p.stop())
	}
	p.url = strings.TrimSpace(line)
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

// startExporter starts the exporter, which watches n imports of a lakeFS.
func startExporter(binary, lakeFS string, n, maxRequests int) (*process, error) {
	dir, err := os.MkdirTemp(filepath.Dir(binary), "exporter")
	if err != nil {
		return nil, err
	}
	var imports strings.Builder
	for i := range n {
		fmt.Fprintf(&imports, "- {repository: %s, branch: main, id: %s, labels: {team: ingest}}\n", repository(i), importID(i))
	}
	for name, content := range map[string]string{
		"access_key_id":     accessKeyID + "\n",
		"secret_access_key": secretAccessKey + "\n",
		"imports.yml":       imports.String(),
		"config.yml": fmt.Sprintf(`servers:
- name: prod
  endpoint_url: %s
  basic_auth: {username_file: access_key_id, password_file: secret_access_key}
  max_concurrent_requests: %d
import_files: [imports.yml]
`, lakeFS, maxRequests),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{url: "http://" + address, log: &bytes.Buffer{}}
	p.cmd = exec.Command(binary, "--web.listen-address="+address, "--log.level=warn") //nolint:noctx // stop ends it
	p.cmd.Dir = dir
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		resp, err := http.Get(p.url + "/-/ready") //nolint:noctx // it has 30 s
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

// memory returns a number of bytes from the status of the process, such as VmRSS.
func (p *process) memory(key string) (float64, error) {
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
