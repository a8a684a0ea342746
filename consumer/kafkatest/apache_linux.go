package kafkatest

import "syscall"

// dieWithParent makes the kernel kill a child process when the thread that started it exits.
var dieWithParent = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
