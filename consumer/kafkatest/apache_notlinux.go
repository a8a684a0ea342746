//go:build unix && !linux

package kafkatest

import "syscall"

// dieWithParent is nil, because only Linux can kill a child process with its parent. If a test is
// killed, its nodes keep running.
var dieWithParent *syscall.SysProcAttr
