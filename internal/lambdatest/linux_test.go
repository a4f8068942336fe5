package lambdatest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestPeakMemoryIsTheFunctionsOwn(t *testing.T) {
	const mib = 1 << 20
	ballast := make([]byte, 100*mib) // of the test, which is not to count
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	f := Start(t, Build(t, hello))
	invoke(t, f, `{}`)
	peak, err := f.PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	if peak < mib || peak > 50*mib {
		t.Errorf("peak memory %d bytes, with %d in the test", peak, len(ballast))
	}
	f.Terminate()
	if _, err := f.PeakMemory(); err == nil {
		t.Error("peak memory of a function that has exited")
	}
}

const orphan = "LAMBDATEST_ORPHAN"

func TestAFunctionEndsWithItsTestProcess(t *testing.T) {
	if address := os.Getenv(orphan); address != "" { // the process that is killed below
		program, address, _ := strings.Cut(address, ",")
		_, err := Start(t, program).Invoke(t.Context(), fmt.Appendf(nil, `{"Do":"hang","Address":%q}`, address))
		t.Fatal(err)
	}
	lives := listen(t)
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), orphan+"="+Build(t, probe)+","+lives.Addr().String(), "TMPDIR="+t.TempDir())
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lives.accept()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	lives.wait()
}
