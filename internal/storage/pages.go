package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The layout of a bbolt file, version 2, as bbolt's package internal/common has
// it. Numbers are in the byte order of the machine.
//
//	page     id uint64, flags uint16, count uint16, overflow uint32; then count elements
//	branch   pos uint32, key size uint32, page uint64
//	leaf     flags uint32, pos uint32, key size uint32, value size uint32
//	freelist count page IDs, each a uint64; if count is 0xffff, the first of them is the count
//	bucket   root page uint64, sequence uint64; if the root is 0, a leaf page follows
//	meta     page header; magic, version, page size, flags uint32; root bucket;
//	         freelist page, pages in use, transaction ID, checksum uint64
//
// A key is pos bytes after the beginning of its element, and its value follows.
const (
	headerSize  = 16 // of a page, and of a bucket
	elementSize = 16

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	bucketFlag   = 0x01 // of a leaf element

	metaFreelistAt    = 48
	metaTransactionAt = 64
	metaSize          = 80
	noFreelist        = ^uint64(0)
)

var order = binary.NativeEndian

// pageVerifier looks through the pages of a bbolt file.
type pageVerifier struct {
	file io.ReaderAt
	size int    // of a page
	used []bool // by page, whether something of the file refers to it
}

// verifyPages reports the first thing about the pages of the file at path that
// bbolt could not have written. tx is a transaction of that file that has read
// nothing yet.
func verifyPages(path string, tx *bolt.Tx) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := tx.DB().Info().PageSize
	if tx.Size() < 0 || tx.Size() > info.Size() {
		return fmt.Errorf("%d bytes long, but should be %d", info.Size(), tx.Size())
	}
	p := &pageVerifier{file: file, size: size, used: make([]bool, tx.Size()/int64(size))}
	if len(p.used) < 2 {
		return errors.New("has no pages")
	}
	p.used[0], p.used[1] = true, true
	freelist, err := p.freelist(uint64(tx.ID()))
	if err != nil {
		return err
	}
	if freelist != noFreelist {
		if err := p.verifyFreelist(freelist); err != nil {
			return err
		}
	}
	if err := p.verifyTree(uint64(tx.Cursor().Bucket().RootPage()), nil, nil); err != nil {
		return err
	}
	for id, used := range p.used {
		if !used && freelist != noFreelist {
			return fmt.Errorf("page %d: is neither used nor free", id)
		}
	}
	return nil
}

// freelist returns which page the freelist of a transaction begins on.
func (p *pageVerifier) freelist(transaction uint64) (uint64, error) {
	meta := make([]byte, metaSize)
	for id := range int64(2) {
		if _, err := p.file.ReadAt(meta, id*int64(p.size)); err != nil {
			return 0, err
		}
		if order.Uint64(meta[metaTransactionAt:]) == transaction {
			return order.Uint64(meta[metaFreelistAt:]), nil
		}
	}
	return 0, fmt.Errorf("transaction %d: has no page", transaction)
}

// page reads a page with those it goes on in, to which nothing may refer yet.
func (p *pageVerifier) page(id uint64) ([]byte, error) {
	if id >= uint64(len(p.used)) {
		return nil, fmt.Errorf("page %d: there are only %d", id, len(p.used))
	}
	header := make([]byte, headerSize)
	if _, err := p.file.ReadAt(header, int64(id)*int64(p.size)); err != nil {
		return nil, err
	}
	n := uint64(order.Uint32(header[12:])) + 1
	if got := order.Uint64(header); got != id {
		return nil, fmt.Errorf("page %d: says it is page %d", id, got)
	}
	if n > uint64(len(p.used))-id {
		return nil, fmt.Errorf("page %d: goes on over %d pages, but there are only %d", id, n, len(p.used))
	}
	for i := id; i < id+n; i++ {
		if err := p.use(i); err != nil {
			return nil, err
		}
	}
	page := make([]byte, n*uint64(p.size))
	_, err := p.file.ReadAt(page, int64(id)*int64(p.size))
	return page, err
}

func (p *pageVerifier) use(id uint64) error {
	if id >= uint64(len(p.used)) {
		return fmt.Errorf("page %d: there are only %d", id, len(p.used))
	}
	if p.used[id] {
		return fmt.Errorf("page %d: is used twice", id)
	}
	p.used[id] = true
	return nil
}

func (p *pageVerifier) verifyFreelist(id uint64) error {
	page, err := p.page(id)
	if err != nil {
		return err
	}
	if flags := order.Uint16(page[8:]); flags != freelistFlag {
		return fmt.Errorf("page %d: has flags %#x, but should be a freelist", id, flags)
	}
	ids := page[headerSize:]
	n := uint64(order.Uint16(page[10:]))
	if n == 0xffff {
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d: has no room for %d free pages", id, n)
	}
	for i := range n {
		if err := p.use(order.Uint64(ids[i*8:])); err != nil {
			return fmt.Errorf("freelist: %w", err)
		}
	}
	return nil
}

// verifyTree verifies all that is at and below page id. Its keys must begin with
// first, unless that is nil, and be less than limit, unless that is nil.
func (p *pageVerifier) verifyTree(id uint64, first, limit []byte) error {
	page, err := p.page(id)
	if err == nil {
		err = p.verifyNode(page, first, limit)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// verifyNode verifies all that is on and below a page.
func (p *pageVerifier) verifyNode(page, first, limit []byte) error {
	flags, n := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	switch {
	case flags != branchFlag && flags != leafFlag:
		return fmt.Errorf("has flags %#x, but should be a branch or a leaf", flags)
	case n == 0 && (flags == branchFlag || first != nil):
		return errors.New("has no elements")
	case n > (len(page)-headerSize)/elementSize:
		return fmt.Errorf("has no room for %d elements", n)
	}
	keys := make([][]byte, n)
	for i := range n {
		key, err := keyOf(page, flags, i)
		switch {
		case err != nil:
			return fmt.Errorf("element %d: %w", i, err)
		case i == 0 && first != nil && !bytes.Equal(key, first):
			// bbolt finds a page's element in the branch above by this key.
			return fmt.Errorf("begins with key %q, but should with %q", key, first)
		case i > 0 && bytes.Compare(key, keys[i-1]) <= 0, limit != nil && bytes.Compare(key, limit) >= 0:
			return fmt.Errorf("element %d: key %q is not in order", i, key)
		}
		keys[i] = key
	}
	for i, key := range keys {
		element := page[headerSize+i*elementSize:]
		if flags == branchFlag {
			end := limit
			if i+1 < n {
				end = keys[i+1]
			}
			if err := p.verifyTree(order.Uint64(element[8:]), key, end); err != nil {
				return err
			}
			continue
		}
		if err := p.verifyLeaf(element, key); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

// keyOf returns the key of an element, of which it verifies that all is on page.
func keyOf(page []byte, flags uint16, i int) ([]byte, error) {
	at := headerSize + i*elementSize
	element := page[at : at+elementSize]
	pos, keySize, valueSize := order.Uint32(element), order.Uint32(element[4:]), uint32(0)
	if flags == leafFlag {
		pos, keySize, valueSize = order.Uint32(element[4:]), order.Uint32(element[8:]), order.Uint32(element[12:])
	}
	if keySize == 0 {
		return nil, errors.New("has no key")
	}
	begin := uint64(at) + uint64(pos)
	end := begin + uint64(keySize)
	if end+uint64(valueSize) > uint64(len(page)) {
		return nil, errors.New("goes on beyond its page")
	}
	return page[begin:end:end], nil
}

// verifyLeaf verifies the value of a leaf's element, which is on its page.
func (p *pageVerifier) verifyLeaf(element, key []byte) error {
	switch flags := order.Uint32(element); flags {
	case 0:
		return nil
	case bucketFlag:
	default:
		return fmt.Errorf("has flags %#x", flags)
	}
	begin := int(order.Uint32(element[4:])) + int(order.Uint32(element[8:]))
	bucket := element[begin : begin+int(order.Uint32(element[12:]))]
	if len(bucket) < headerSize {
		return fmt.Errorf("bucket %q: is %d bytes long", key, len(bucket))
	}
	var err error
	if root := order.Uint64(bucket); root != 0 {
		err = p.verifyTree(root, nil, nil)
	} else if page := bucket[headerSize:]; len(page) < headerSize || order.Uint16(page[8:]) != leafFlag {
		err = errors.New("is not a leaf")
	} else {
		err = p.verifyNode(page, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("bucket %q: %w", key, err)
	}
	return nil
}
