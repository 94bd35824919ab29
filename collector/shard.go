package collector

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// Shard is one of several exporters that share the same imports and
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
		return fmt.Errorf("shard %d: must be less than the total of %d shards", s.Index, max(s.Total, 1))
	}
	return nil
}

// owns reports whether an import belongs to s, or with an empty ID a repository.
func (s Shard) owns(k Key) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join([]string{k.Server, k.Repository, k.ID}, "\x00")))
	return h.Sum64()%s.Total == s.Index
}

// own returns the elements of all that belong to s.
func own[T interface{ key() Key }](s Shard, all []T) []T {
	if s.Total <= 1 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(v T) bool { return !s.owns(v.key()) })
}
