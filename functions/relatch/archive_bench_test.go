//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/stackflow/relatch/internal/trail"
)

// alone is the variable that makes this binary unpack the files of a folder, and
// nothing else: what the command is measured against.
const alone = "RELATCH_BENCH_UNPACK"

func unpack(root string) error {
	files := make(chan string, 64)
	var readers sync.WaitGroup
	failed := make(chan error, runtime.GOMAXPROCS(0))
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			var z gzip.Reader
			for path := range files {
				raw, err := os.ReadFile(path)
				if err == nil {
					err = z.Reset(bytes.NewReader(raw))
				}
				if err == nil {
					_, err = io.Copy(io.Discard, &z)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files <- path
		}
		return err
	})
	close(files)
	readers.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// archiveKind is one kind of archive that is made for the benchmark.
type archiveKind struct {
	name    string
	size    int  // of a file, unpacked
	cognito bool // half of the records are Cognito's
}

var archiveKinds = []archiveKind{
	{"files of 4 MB", 4 << 20, false},
	{"files of 11 KB", 11 << 10, false},
	{"half cognito-idp, 4 MB", 4 << 20, true},
}

// BenchmarkArchive runs the command, and in turns with it what else unpacks or
// searches archives, on the same files. RELATCH_ARCHIVE_MB is how many MB there
// are of them, unpacked; it defaults to 16, which says little.
func BenchmarkArchive(b *testing.B) {
	size := megabytes(b)
	dir := b.TempDir()
	command := buildCommand(b, dir)
	shapes, from := recordShapes(b)
	fmt.Printf("\n%d MB in each archive, %s; %s\n", size, from, machine())
	for _, kind := range archiveKinds {
		root := filepath.Join(dir, strconv.Itoa(kind.size)+strconv.FormatBool(kind.cognito))
		made := makeArchive(b, root, kind, shapes, size<<20)
		for _, cores := range []int{1, runtime.NumCPU()} {
			fmt.Printf("\n%s: %d files, %d records, %d of them relevant; %d cores\n", kind.name, made.files, made.records, made.relevant, cores)
			compare(b, command, root, made, cores)
			if runtime.NumCPU() == 1 {
				break
			}
		}
		if err := os.RemoveAll(root); err != nil {
			b.Fatal(err)
		}
	}
}

// megabytes is RELATCH_ARCHIVE_MB.
func megabytes(b *testing.B) int {
	b.Helper()
	text := os.Getenv("RELATCH_ARCHIVE_MB")
	if text == "" {
		return 16
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// buildCommand compiles the command into the folder.
func buildCommand(b *testing.B, dir string) string {
	b.Helper()
	command := filepath.Join(dir, "relatch")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-buildvcs=false", "-o", command, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return command
}

// BenchmarkArchiveMemory runs the command on archives of three and of thirty times
// RELATCH_ARCHIVE_MB, of which no record matters, and one in a hundred does.
func BenchmarkArchiveMemory(b *testing.B) {
	size := megabytes(b)
	dir := b.TempDir()
	command := buildCommand(b, dir)
	fmt.Printf("\nPeak memory; %s\n", machine())
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "archive\trecords\trelevant\tcores\ttime\tpeak memory\t")
	for _, times := range []int{3, 30} {
		for _, inThousand := range []int{0, 10} {
			root := filepath.Join(dir, strconv.Itoa(times*1000+inThousand))
			made := repeatArchive(b, root, times*size<<20, inThousand)
			for cores := 1; cores <= runtime.NumCPU(); cores *= 2 {
				cmd := exec.CommandContext(b.Context(), command, "replay", "--format", "json", root)
				cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				began := time.Now()
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				memory := peak(cmd.Process.Pid)
				if err := cmd.Wait(); err != nil || !bytes.Contains(out.Bytes(), fmt.Appendf(nil, `"events":%d,"acted":%d,`, made.records, made.relevant)) {
					b.Fatalf("want %d records, %d of them acted on; %v\n%s", made.records, made.relevant, err, out.Bytes()[max(0, out.Len()-400):])
				}
				fmt.Fprintf(t, "%d MB\t%d\t%d\t%d\t%.1f s\t%d MB\t\n", made.size>>20, made.records, made.relevant, cores, time.Since(began).Seconds(), memory>>10)
			}
			if err := os.RemoveAll(root); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := t.Flush(); err != nil {
		b.Fatal(err)
	}
}

// repeatArchive writes an archive of ten days in files of 4 MB quickly: what does
// not matter is packed once and is the second member of every file. Those in a
// thousand that matter switch the factor of one of 1000 users off.
func repeatArchive(b *testing.B, root string, size, inThousand int) (made madeArchive) {
	b.Helper()
	pack := func(text []byte) []byte {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(text)
		if err := errors.Join(err, z.Close()); err != nil {
			b.Fatal(err)
		}
		return packed.Bytes()
	}
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	const lastID = "293ba626-3be5-4a26-ab1b-0f4c54f49959"
	record := func(shape string, id int, at time.Time) string {
		shape = strings.Replace(shape, "2023-07-10T11:42:36Z", at.Format(time.RFC3339), 1)
		return strings.Replace(shape, lastID, fmt.Sprintf("%08x%s", id*0x9e3779b1%(1<<32), lastID[8:]), 1) // in no order
	}
	var rest bytes.Buffer
	others := 0
	for ; rest.Len() < 4<<20; others++ {
		fmt.Fprintf(&rest, ",%s", record(recordOf([]string{"s3", "ec2", "iam", "kms"}[others%4], "ListThings", fmt.Sprintf(`{"n":%d}`, others*7919), "{}"), others, start.Add(time.Duration(others)*time.Minute)))
	}
	rest.WriteString("]}")
	shared := pack(rest.Bytes())
	matching := others * inThousand / 1000
	files := max(size/rest.Len(), 1)
	for i := range files {
		text := []byte(`{"Records":[` + record(recordOf("s3", "ListBuckets", "{}", "{}"), 1<<31+i, start))
		for range matching {
			n := made.relevant
			made.relevant++
			const parameters = `{"userPoolId":"us-east-1_EXAMPLE12","softwareTokenMfaSettings":{"enabled":false}}`
			at := start.Add(time.Duration(float64(n) / float64(files*matching) * float64(10*24*time.Hour)))
			text = append(append(text, ','), record(recordOf("cognito-idp", "AdminSetUserMFAPreference", parameters, fmt.Sprintf(`{"sub":"u-%d"}`, n%1000)), n, at)...)
		}
		dir := filepath.Join(root, "AWSLogs", "111122223333", "CloudTrail", "us-east-1", "2026", "11", fmt.Sprintf("%02d", 1+i*10/files))
		name := filepath.Join(dir, fmt.Sprintf("%d.json.gz", i))
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(name, append(pack(text), shared...), 0o644)); err != nil {
			b.Fatal(err)
		}
		made.records += others + 1 + matching
		made.size += rest.Len() + len(text)
		made.files++
	}
	return made
}

// contender is one of those that run on the same files.
type contender struct {
	name   string
	args   []string
	single bool // uses one core, whatever there are
}

func compare(b *testing.B, command, root string, made madeArchive, cores int) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	piped := func(script string) []string {
		return []string{"sh", "-c", "find " + root + " -name '*.gz' -print0 | " + script}
	}
	all := []contender{
		{"relatch replay", []string{command, "replay", "--format", "json", root}, false},
		{"unpacking alone", []string{self}, false},
		{"ugrep -z -o", []string{"ugrep", "-z", "-r", "-o", "-h", "-J", strconv.Itoa(cores), "cognito-idp[.]amazonaws[.]com\",\"eventName\":\"AdminSetUserMFAPreference", root}, false},
		{"gzip -dc", piped("xargs -0 gzip -dc"), true},
		{"zcat | jq", piped(`xargs -0 zcat | jq -c '.Records[] | select(.eventSource == "cognito-idp.amazonaws.com")'`), true},
	}
	all = slices.DeleteFunc(all, func(c contender) bool {
		tool := c.args[0]
		if tool == "sh" {
			tool = strings.Fields(c.name)[0]
		}
		_, err := exec.LookPath(tool)
		return err != nil || c.single && cores > 1
	})
	took := make([][]time.Duration, len(all))
	worked := make([][]time.Duration, len(all))
	memory := make([]int, len(all))
	for range 5 {
		for i, c := range all {
			if c.single && len(took[i]) > 0 {
				continue
			}
			cmd := exec.CommandContext(b.Context(), c.args[0], c.args[1:]...)
			cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
			if c.args[0] == self {
				cmd.Env = append(cmd.Env, alone+"="+root)
			}
			var out bytes.Buffer
			if !c.single {
				cmd.Stdout, cmd.Stderr = &out, &out // ugrep stops at the first match if nobody reads
			}
			began := time.Now()
			err := cmd.Start()
			if err == nil {
				memory[i] = max(memory[i], peak(cmd.Process.Pid))
				err = cmd.Wait()
			}
			if err != nil {
				b.Fatalf("%s: %v\n%s", c.name, err, out.Bytes())
			}
			took[i] = append(took[i], time.Since(began))
			worked[i] = append(worked[i], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			if i == 0 && !bytes.Contains(out.Bytes(), fmt.Appendf(nil, `"events":%d,"acted":%d,`, made.records, made.relevant)) {
				b.Fatalf("want %d records, %d of them acted on; have\n%s", made.records, made.relevant, out.Bytes()[max(0, out.Len()-400):])
			}
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ttime\tto unpacking\tCPU time\tto unpacking\tpeak memory\t")
	for i, c := range all {
		fmt.Fprintf(t, "%s\t%.3f s\t%.2f\t%.3f s\t%.2f\t%d MB\t\n", c.name,
			slices.Min(took[i]).Seconds(), ratio(took[i], took[1]), slices.Min(worked[i]).Seconds(), ratio(worked[i], worked[1]), memory[i]>>10)
	}
	if err := t.Flush(); err != nil {
		b.Fatal(err)
	}
}

// peak is the most memory, in kB, that a process held until it ended, where
// Linux tells; the rusage of a child begins with what its parent holds.
func peak(pid int) (kB int) {
	field := regexp.MustCompile(`VmHWM:\s*([0-9]+) kB`)
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m := field.FindSubmatch(status)
		if err != nil || m == nil {
			return kB
		}
		kB, _ = strconv.Atoi(string(m[1]))
		<-time.After(10 * time.Millisecond)
	}
}

// ratio is that of the least times: what else the machine did made the others longer.
func ratio(a, b []time.Duration) float64 { return slices.Min(a).Seconds() / slices.Min(b).Seconds() }

func machine() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	model := runtime.GOARCH
	if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); err == nil && m != nil {
		model = string(m[1])
	}
	return fmt.Sprintf("%s, %d cores, %s", model, runtime.NumCPU(), runtime.Version())
}

// recordShapes are records as AWS writes them: real ones where they are beside
// the repository, else made up.
func recordShapes(b *testing.B) (shapes []string, from string) {
	b.Helper()
	files, err := filepath.Glob("../../../shared/cloudtrail/*/*.gz")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			b.Fatal(err)
		}
		raw, err := io.ReadAll(z)
		if err := errors.Join(err, f.Close()); err != nil {
			b.Fatal(err)
		}
		for u := range trail.Split(raw) {
			shapes = append(shapes, string(u.Raw))
		}
	}
	if len(shapes) > 0 {
		return shapes, "of the shapes of real records"
	}
	for _, call := range []string{"s3 ListBuckets", "ec2 DescribeInstances", "iam GetRole", "kms Decrypt", "sts AssumeRole", "ssm DescribeParameters"} {
		service, name, _ := strings.Cut(call, " ")
		shapes = append(shapes, recordOf(service, name, `{"filterSet":{"items":[{"name":"tag:Name","valueSet":{"items":[{"value":"one"}]}},{"name":"x"}]}}`, `{"key":"value"}`))
	}
	return shapes, "of made-up records"
}

func recordOf(service, name, parameters, extra string) string {
	return `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEAAAAAAAAAA:ops-7","arn":"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7",` +
		`"accountId":"111122223333","accessKeyId":"ASIAEXAMPLEAAAAAAAAA","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEAAAAAAAAAA","arn":"arn:aws:iam::111122223333:role/SupportAdmin",` +
		`"accountId":"111122223333","userName":"SupportAdmin"},"webIdFederationData":{},"attributes":{"creationDate":"2023-07-10T11:42:31Z","mfaAuthenticated":"true"}}},` +
		`"eventTime":"2023-07-10T11:42:36Z","eventSource":"` + service + `.amazonaws.com","eventName":"` + name + `","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.10",` +
		`"userAgent":"aws-cli/2.15.0 md/awscrt#0.19.19 ua/2.0 os/linux#6.1 md/arch#x86_64 lang/python#3.11.6 md/pyimpl#CPython exec-env/CloudShell cfg/retry-mode#standard",` +
		`"requestParameters":` + parameters + `,"responseElements":null,"additionalEventData":` + extra + `,"requestID":"7f3c1f0a-3d3c-4a1e-9d4b-0d2d4a2f9a11","eventID":"293ba626-3be5-4a26-ab1b-0f4c54f49959",` +
		`"readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management",` +
		`"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"` + service + `.us-east-1.amazonaws.com"}}`
}

type madeArchive struct{ size, files, records, relevant int }

var varying = regexp.MustCompile(`"eventID":"[^"]*"|"requestID":"[^"]*"|"eventTime":"[^"]*"`)

// makeArchive writes an archive of ten days of two Regions. Ten users have their factor
// switched off in it, once each.
func makeArchive(b *testing.B, root string, kind archiveKind, shapes []string, size int) (made madeArchive) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, uint64(kind.size)))
	hex := func(n int) string {
		var s strings.Builder
		for range n {
			s.WriteByte("0123456789abcdef"[r.IntN(16)])
		}
		return s.String()
	}
	id := func() string { return hex(8) + "-" + hex(4) + "-" + hex(4) + "-" + hex(4) + "-" + hex(12) }
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	disables := 0
	var text bytes.Buffer
	for made.size < size {
		text.Reset()
		at := start.Add(time.Duration(float64(made.size) / float64(size) * float64(10*24*time.Hour)))
		for text.Len() < kind.size {
			shape := shapes[r.IntN(len(shapes))]
			switch done := float64(made.size+text.Len()) / float64(size); {
			case done*10 > float64(disables) && disables < 10:
				shape = recordOf("cognito-idp", "AdminSetUserMFAPreference", `{"userPoolId":"us-east-1_EXAMPLE12","username":"HIDDEN_DUE_TO_SECURITY_REASONS","softwareTokenMfaSettings":{"enabled":false}}`, fmt.Sprintf(`{"sub":"u-%d"}`, disables))
				disables++
				made.relevant++
			case kind.cognito && r.IntN(2) == 0:
				shape = recordOf("cognito-idp", []string{"InitiateAuth", "RespondToAuthChallenge", "GetUser", "ListUsers"}[r.IntN(4)], `{"clientId":"4example","authFlow":"USER_SRP_AUTH","authParameters":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, `{"sub":"`+id()+`"}`)
			}
			at = at.Add(time.Second)
			record := varying.ReplaceAllStringFunc(shape, func(m string) string {
				if strings.HasPrefix(m, `"eventTime`) {
					return `"eventTime":"` + at.Format(time.RFC3339) + `"`
				}
				return m[:strings.IndexByte(m, ':')] + `:"` + id() + `"`
			})
			if text.Len() == 0 {
				text.WriteString(`{"Records":[`)
			} else {
				text.WriteByte(',')
			}
			text.WriteString(record)
			made.records++
		}
		text.WriteString("]}")
		region := []string{"us-east-1", "eu-central-1"}[made.files%2]
		dir := filepath.Join(root, "AWSLogs", "111122223333", "CloudTrail", region, at.Format("2006/01/02"))
		name := fmt.Sprintf("111122223333_CloudTrail_%s_%s_%s.json.gz", region, at.Format("20060102T1504Z"), hex(16))
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(text.Bytes())
		if err := errors.Join(err, z.Close(), os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), packed.Bytes(), 0o644)); err != nil {
			b.Fatal(err)
		}
		made.files++
		made.size += text.Len()
	}
	return made
}
