package vm

import "time"

// CloudConfig is cloudConfig for the tests of this package.
var CloudConfig = cloudConfig

// Shift moves the memory of missing VMs into the past.
func (s *Service) Shift(cluster string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, since := range s.missed[cluster] {
		s.missed[cluster][id] = since.Add(-d)
	}
}

// Hurry shortens the wait for a second look.
func (s *Service) Hurry(d time.Duration) { s.confirm = d }
