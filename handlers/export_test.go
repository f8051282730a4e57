package handlers

import "kubevirt-shepherd.io/shepherd/internal/domain"

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
func Dangerous() map[string]bool {
	all := map[string]bool{}
	for d := range dangerous {
		all[d.method+" "+d.pattern] = true
	}
	return all
}

// Costly are the routes with a rate of their own.
func Costly() map[string]string {
	all := map[string]string{}
	for route, kind := range costly {
		all[route[0]+" "+route[1]] = kind
	}
	return all
}
