package testbed

import "syscall"

// attributes puts the cluster into its own process group and ties its life to
// ours.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func kill(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
