//go:build !linux

package lambdatest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
