package handlers

import (
	"maps"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Route is a line of the URL map, for tests.
type Route struct {
	Method, Pattern string
	Action          domain.Action
	Loads           bool
}

// Routes is the URL map.
func (s *Server) Routes() []Route {
	var all []Route
	for _, r := range s.routes() {
		all = append(all, Route{r.method, r.pattern, r.action, r.load != nil})
	}
	return all
}

// Dangerous are the deeds that ask for a confirmation, by method and pattern.
func Dangerous() map[string]bool { return maps.Clone(dangerous) }

// Costly are the routes with a rate of their own.
func Costly() map[string]string { return maps.Clone(costly) }

// Costs are Costly and what the API has for the same.
func (s *Server) Costs() map[string]string { return maps.Clone(s.costs) }
