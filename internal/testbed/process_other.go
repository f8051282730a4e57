//go:build unix && !linux

package testbed

import "syscall"

// attributes puts the cluster into its own process group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func kill(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
