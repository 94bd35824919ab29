package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	maxConfigBytes     = 16 << 20
	maxImportFileBytes = 1 << 20
	maxSecretBytes     = 1 << 20 // bundles of authorities have hundreds of KiB
)

// readFile returns the content of the regular file at path, and what the file
// was before it was read. The error does not repeat path.
func readFile(path string, maxBytes int64) ([]byte, fs.FileInfo, error) {
	// Otherwise, opening a FIFO would wait for a writer, and opening a terminal
	// could make its signals ours.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, reason(err)
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return nil, nil, reason(err)
	case int64(len(data)) > maxBytes:
		return nil, nil, fmt.Errorf("larger than %d MiB", maxBytes>>20)
	}
	return data, info, nil
}

// reason returns err without the name of the file that it is about.
func reason(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}
