package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The layout of a bbolt file, as bbolt's package internal/common has it, in the
// byte order of the machine:
//
//	page     id uint64, flags uint16, count uint16, overflow uint32; then count elements
//	branch   pos uint32, key size uint32, page uint64
//	leaf     flags uint32, pos uint32, key size uint32, value size uint32
//	freelist count page IDs, each a uint64; if count is 0xffff, the first of them is the count
//	bucket   root page uint64, sequence uint64; if the root is 0, a leaf page follows
//	meta     page header; magic, version, page size, flags uint32; root bucket;
//	         freelist page, pages in use, transaction, checksum uint64
//
// A key begins pos bytes after its element, and its value follows.
const (
	pageSize    = 4096 // of every file that this package creates
	headerSize  = 16   // of a page, and of a bucket
	elementSize = 16

	branchPage    = 0x01
	leafPage      = 0x02
	bucketElement = 0x01
	noFreelist    = ^uint64(0)
)

var order = binary.NativeEndian

// verify reports what would make bbolt loop, allocate any amount of memory or
// write over pages in use. It panics where a length or position is outside of
// the file. That the entries are the right ones is verified by their digest;
// that they are in order within a page is not.
func (s *Storage) verify(tx *bolt.Tx) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	t := tree{file: s.file}
	// bbolt writes the two meta pages in turn, and ignores one that is damaged.
	newest, other := t.read(uint64(tx.ID()%2), 1), t.read(uint64((tx.ID()+1)%2), 1)
	root, freelist, pages := order.Uint64(newest[32:]), order.Uint64(newest[48:]), order.Uint64(newest[56:])
	switch {
	case order.Uint32(newest[24:]) != pageSize, freelist == noFreelist:
		return errForeign
	case pages < 2 || pages > uint64(info.Size()/pageSize):
		return fmt.Errorf("%w: has %d bytes, but should have %d pages of %d", errDamaged, info.Size(), pages, pageSize)
	case !validMeta(other) || order.Uint64(other[64:])+1 != uint64(tx.ID()):
		s.loaded.Skipped = append(s.loaded.Skipped, fmt.Errorf("one of the two meta pages is damaged: if it was the newer one, "+
			"the registrations, removals or observations that were stored last, at %s, are lost",
			info.ModTime().UTC().Format(time.RFC3339)))
	}
	t.used = make([]bool, pages)
	t.used[0], t.used[1] = true, true
	t.verifyFreelist(t.page(freelist))
	t.verify(t.page(root), nil)
	return nil
}

// validMeta reports whether a meta page has the checksum of its content.
func validMeta(page []byte) bool {
	sum := fnv.New64a()
	_, _ = sum.Write(page[headerSize:72])
	return order.Uint64(page[72:]) == sum.Sum64()
}

// tree is the pages of a file. Its methods panic where they are damaged.
type tree struct {
	file *os.File
	used []bool // by page, whether something refers to it
}

func (t *tree) use(id uint64) {
	if t.used[id] {
		damaged("page %d is used twice", id)
	}
	t.used[id] = true
}

// page returns a page with those that it continues on.
func (t *tree) page(id uint64) []byte {
	t.use(id)
	page := t.read(id, 1)
	if got := order.Uint64(page); got != id {
		damaged("page %d says it is page %d", id, got)
	}
	overflow := uint64(order.Uint32(page[12:]))
	if overflow == 0 {
		return page
	}
	for i := range overflow {
		t.use(id + 1 + i)
	}
	return t.read(id, 1+overflow)
}

func (t *tree) read(id, pages uint64) []byte {
	data := make([]byte, pages*pageSize)
	if _, err := t.file.ReadAt(data, int64(id*pageSize)); err != nil {
		damaged("page %d: %v", id, err)
	}
	return data
}

// verifyFreelist verifies the IDs of a freelist; bbolt verifies its flags.
func (t *tree) verifyFreelist(page []byte) {
	n, ids := uint64(order.Uint16(page[10:])), page[headerSize:]
	if n == 0xffff {
		n, ids = order.Uint64(ids), ids[8:]
	}
	for i := range n {
		t.use(order.Uint64(ids[8*i:]))
	}
}

// verify verifies a page and those below it. Its keys must begin with first, by
// which bbolt finds it in the page above, unless that is nil.
func (t *tree) verify(page, first []byte) {
	kind, n := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if kind != branchPage && kind != leafPage || n == 0 && (kind == branchPage || first != nil) {
		damaged("a page has flags %#x and %d elements", kind, n)
	}
	for i := range n {
		element := page[headerSize+i*elementSize:]
		header := element
		if kind == leafPage {
			header = element[4:]
		}
		content := element[order.Uint32(header):]
		key, content := content[:order.Uint32(header[4:])], content[order.Uint32(header[4:]):]
		if i == 0 && first != nil && !bytes.Equal(key, first) {
			damaged("a page begins with key %q, but should with %q", key, first)
		}
		if kind == branchPage {
			t.verify(t.page(order.Uint64(element[8:])), key)
			continue
		}
		size := order.Uint32(element[12:])
		value := content[:size:size] // without the capacity to reach beyond
		if order.Uint32(element) != bucketElement {
			continue
		}
		top := value[headerSize:]
		if root := order.Uint64(value); root != 0 {
			top = t.page(root)
		}
		t.verify(top, nil)
	}
}

// damaged ends a verification. protect makes an error of it.
func damaged(format string, args ...any) {
	panic(fmt.Sprintf(format, args...)) //nolint:forbidigo // recovered by protect
}
