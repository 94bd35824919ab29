//go:build !unix

package storage

import "os"

// tryLock leaves it to bbolt: Windows refuses the second lock of one process, too.
func tryLock(*os.File) (locked bool, err error) { return true, nil }

// unlock leaves it to the end of the file's handle.
func unlock(*os.File) error { return nil }

func mapFile(file *os.File, size int) ([]byte, error) {
	data := make([]byte, size)
	_, err := file.ReadAt(data, 0)
	return data, err
}

func unmapFile([]byte) error { return nil }
