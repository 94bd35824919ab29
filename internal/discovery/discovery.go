// Package discovery finds out from lakeFS's own database which imports there
// are, no matter who started them. It reads keys only; what an import does is told by
// lakeFS's API.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/rs/xid"

	"lakefs_import_exporter/lakefs"
)

// maxRefreshTime is the deadline of a refresh, where the interval is not shorter.
const maxRefreshTime = 30 * time.Second

// Import names an import found in lakeFS's database. Its branch is not there.
type Import struct{ Repository, ID string }

// Set is what one refresh found.
type Set struct {
	// Imports are distinct, newest first by their xids. An import whose ID is
	// no xid counts as oldest.
	Imports []Import
	// Dropped is the number of rows that were left out because of MaxImports.
	Dropped int
}

// Source reads the IDs of all imports that lakeFS knows.
type Source interface {
	// List calls found for each import, one call at a time, until ctx is done. A
	// List that failed does not affect the next, and two never run at once.
	// Errors quote neither secrets nor what the database sent.
	List(ctx context.Context, found func(Import)) error
}

// Options of Run.
type Options struct {
	// Interval is the time from one refresh to the next. A refresh takes at
	// most this, and at most 30 seconds.
	Interval time.Duration
	// MaxImports is the number of imports to keep: the newest.
	MaxImports int
	// Ignore reports whether to leave out all imports into a repository. They
	// do not count against MaxImports. Nil leaves out none.
	Ignore func(repository string) bool
}

// Run refreshes at once, and then once in opts.Interval, until ctx is done. It
// reports every result, a whole Set or an error, and none once ctx is done. It
// depends on no Source that hangs: neither the end of a refresh nor its own.
func Run(ctx context.Context, source Source, opts Options, report func(Set, error)) {
	ticker := time.NewTicker(opts.Interval)
	defer ticker.Stop()
	running := make(chan struct{}, 1) // full while List runs: never twice at once
	for {
		set, err := refresh(ctx, source, opts, running)
		if ctx.Err() != nil {
			return
		}
		report(set, err)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func refresh(ctx context.Context, source Source, opts Options, running chan struct{}) (Set, error) {
	timeout := min(opts.Interval, maxRefreshTime)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	listed := newest{Options: opts}
	done := make(chan error, 1)
	select {
	case running <- struct{}{}:
		go func() {
			defer func() { <-running }()
			done <- source.List(ctx, listed.add)
		}()
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		if err == nil && listed.invalid > 0 && listed.invalid == listed.rows {
			err = fmt.Errorf("none of %d rows names an import of lakeFS", listed.rows)
		}
		if err != nil {
			return Set{}, err
		}
		listed.truncate()
		return listed.Set, nil
	case <-ctx.Done():
		return Set{}, fmt.Errorf("no answer within %s", timeout)
	}
}

// newest keeps the newest imports of those added, in memory for twice as many.
type newest struct {
	Options
	Set
	rows, invalid int // added, and which no lakeFS could have written
}

func (n *newest) add(i Import) {
	n.rows++
	ref := lakefs.Ref{Repository: i.Repository, Branch: lakefs.UnknownBranch, ID: i.ID}
	switch {
	case ref.Validate() != nil:
		n.invalid++
	case n.Ignore == nil || !n.Ignore(i.Repository):
		n.Imports = append(n.Imports, i)
		if len(n.Imports) >= 2*n.MaxImports {
			n.truncate()
		}
	}
}

func (n *newest) truncate() {
	slices.SortFunc(n.Imports, compare)
	n.Imports = slices.Compact(n.Imports)
	if excess := len(n.Imports) - n.MaxImports; excess > 0 {
		clear(n.Imports[n.MaxImports:])
		n.Imports = n.Imports[:n.MaxImports]
		n.Dropped += excess
	}
}

// compare orders imports newest first. xids order by their time, and those of
// one second by their count.
func compare(a, b Import) int {
	return cmp.Or(
		cmp.Compare(startKey(b.ID), startKey(a.ID)),
		cmp.Compare(a.Repository, b.Repository),
		cmp.Compare(a.ID, b.ID),
	)
}

func startKey(id string) string {
	if _, err := xid.FromString(id); err != nil {
		return ""
	}
	return id
}

// networkReason tells what kind of network error err is, "" if it is none. Neither
// it nor its callers quote a library or a server: these quote hosts and users, and
// what they were sent.
func networkReason(err error) string {
	var (
		dnsErr *net.DNSError
		netErr net.Error
		errno  syscall.Errno
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case errors.As(err, &dnsErr):
		return "no such host"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	default:
		return ""
	}
}
