package collector

// Store is durable memory. Its methods are called by several goroutines at
// once, and never with a lock held that a scrape waits for. They may block as
// long as the disk does.
type Store interface {
	// Load returns everything that is stored. It is called once, before Update.
	Load() (Stored, error)
	// Update makes all of the changes or none of them, in one transaction. They
	// are durable when it returns without an error.
	Update(Changes) error
}

// Stored is the content of a Store.
type Stored struct {
	Registrations []Registration
	Observations  []Observed
	// Skipped are entries that cannot be used, such as one with a label that
	// has become reserved since; each is an error that names it.
	Skipped []error
}

// Changes are changes to a Store. Putting replaces an entry with the same Key;
// deleting does nothing where there is none. Deletions come first.
type Changes struct {
	PutRegistrations    []Registration
	DeleteRegistrations []Key
	// PutObservations are sorted by Key.
	PutObservations    []Observed
	DeleteObservations []Key
}
