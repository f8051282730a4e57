package database

import "syscall"

// dieWithParent makes the kernel stop the server when the portal is killed, so
// that nothing is left behind that blocks the next start.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
