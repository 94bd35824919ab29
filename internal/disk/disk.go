// Package disk reads small files without trusting what is at their paths.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile returns the content of the regular file at path, and what the file was
// before it was read. It does not wait for the other end of a pipe, and reads not
// much more than maxBytes. An error is a *fs.PathError.
func ReadFile(path string, maxBytes int64) ([]byte, fs.FileInfo, error) {
	// O_NOCTTY: opening a terminal could make its signals ours.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && int64(len(data)) > maxBytes {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d KiB", maxBytes>>10)}
	}
	return data, info, err
}

// Reason returns err without the path.
func Reason(err error) error {
	if perr, ok := errors.AsType[*fs.PathError](err); ok {
		return perr.Err
	}
	return err
}
