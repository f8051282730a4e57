package handlers

// Route is a line of the URL map, for tests.
type Route struct{ Method, Pattern, Permission string }

// Routes is the URL map.
func (s *Server) Routes() []Route {
	var all []Route
	for _, r := range s.routes() {
		all = append(all, Route{r.method, r.pattern, string(r.permission)})
	}
	return all
}

// Permissions are the known ones.
func Permissions() map[string]bool {
	all := map[string]bool{}
	for p := range gates {
		all[string(p)] = true
	}
	return all
}

// Costly are the routes with a rate of their own.
func Costly() map[string]string { return costly }
