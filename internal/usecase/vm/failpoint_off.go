//go:build !failpoint

package vm

// failpoint does nothing in a normal build.
func failpoint(string) {}
