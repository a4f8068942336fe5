package lambdatest

import "syscall"

// dieWithParent has a process killed when the thread ends that started it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
