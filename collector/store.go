package collector

import "time"

// Store is durable memory. Its methods are called by several goroutines at
// once, and never with a lock held that readers wait for.
type Store interface {
	// Load returns everything that is stored. It is called once, before any
	// other method.
	Load() ([]Registration, map[Key]Observation, error)
	// PutImport stores a registered import in the place of an earlier one of the
	// same Key. It is durable when the method returns without an error.
	PutImport(Registration) error
	// DeleteImports takes registered imports out, if they are there. That is
	// durable when the method returns without an error.
	DeleteImports(...Key) error
	// PutObservations stores what was last seen of imports, all or nothing. It
	// is durable when the method returns without an error.
	PutObservations(map[Key]Observation) error
	// DeleteObservations takes observations out, if they are there. That is
	// durable when the method returns without an error.
	DeleteObservations(...Key) error
}

// Registration is an import that was registered over the API.
type Registration struct {
	Import
	// At is when it was first registered, by the exporter's clock.
	At time.Time
}
