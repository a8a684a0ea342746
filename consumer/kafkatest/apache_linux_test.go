package kafkatest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNodesExitWithTheTest runs itself as a child process and kills it.
func TestNodesExitWithTheTest(t *testing.T) {
	if os.Getenv("KAFKATEST_VICTIM") != "" {
		a := NewApache(t, ApacheConfig{Nodes: 1, Dir: os.Getenv("KAFKATEST_VICTIM")})
		fmt.Println(a.Brokers()[0])
		select {}
	}
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("needs Apache Kafka (make test-kafka)")
	}
	victim := exec.Command(os.Args[0], "-test.run=^TestNodesExitWithTheTest$")
	victim.Env = append(os.Environ(), "KAFKATEST_VICTIM="+t.TempDir())
	victim.SysProcAttr = dieWithParent
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if err != nil {
		t.Fatalf("child process started no node: %v", err)
	}
	addr := strings.TrimSpace(line)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("node at %s still accepts connections after its test was killed (%v)", addr, err)
		}
		_ = conn.Close()
	}
}
