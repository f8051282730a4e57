//go:build failpoint

package vm

import (
	"os"
	"syscall"
)

// failpoint kills this process the first time that the point named by
// SHEPHERD_FAILPOINT is reached: before-create or after-post. The file of
// SHEPHERD_FAILPOINT_MARK remembers that it happened, also across restarts.
// It exists for the crash test only.
func failpoint(name string) {
	mark := os.Getenv("SHEPHERD_FAILPOINT_MARK")
	if name != os.Getenv("SHEPHERD_FAILPOINT") || mark == "" {
		return
	}
	f, err := os.OpenFile(mark, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_ = f.Close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may need a moment
}
