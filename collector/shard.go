package collector

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Shard is one of several exporters that share out the same imports and
// repositories by a hash, so that each is polled by exactly one.
type Shard struct {
	// Index is from 0 to Total - 1.
	Index uint64
	// Total is how many exporters there are; 0 means one, as 1 does.
	Total uint64
}

// Validate reports whether there can be such a shard.
func (s Shard) Validate() error {
	if s.Index >= max(s.Total, 1) {
		return fmt.Errorf("shard %d: must be below the %d shards in all", s.Index, max(s.Total, 1))
	}
	return nil
}

// owns reports whether key falls to s.
func (s Shard) owns(key Key) bool {
	if s.Total <= 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join([]string{key.Server, key.Repository, key.Branch, key.ID}, "\x00")))
	return h.Sum64()%s.Total == s.Index
}

// imports returns those that fall to s.
func (s Shard) imports(all []Import) []Import {
	if s.Total <= 1 {
		return all
	}
	return pick(all, func(i Import) bool { return s.owns(i.Key) })
}

// repositories returns those that fall to s.
func (s Shard) repositories(all []Repository) []Repository {
	return pick(all, func(r Repository) bool { return s.owns(repositoryKey(r)) })
}

func pick[T any](all []T, want func(T) bool) []T {
	var picked []T
	for _, t := range all {
		if want(t) {
			picked = append(picked, t)
		}
	}
	return picked
}
