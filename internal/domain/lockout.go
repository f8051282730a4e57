package domain

// Lockout is why the secrets that are stored cannot be relied on to open: the
// key file is missing, or is not the one that sealed them.
type Lockout struct {
	Unreadable bool     // there is no key file, or it cannot be read
	Missing    []string // ids of keys that sealed something, and that it lacks
	Wrong      []string // ids under which it has another key than the one that sealed
}
