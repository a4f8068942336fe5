package functions_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

// all are the functions.
var all = []string{"audit", "reenable", "sweep"}

// A function is as small as this, zipped (in bytes), and takes this much memory
// at most for a batch of 10.
const (
	mostZip    = 5_000_000
	mostMemory = 64 << 20
)

// dummy is an environment in which the functions start.
var dummy = []string{
	"RELATCH_POOLS=us-east-1_EXAMPLE12", "RELATCH_OWN_ROLES=arn:aws:iam::123456789012:role/audit",
	"RELATCH_TABLE=relatch", "RELATCH_ALERT_BUS=relatch", "RELATCH_REENABLE_QUEUE_URL=http://127.0.0.1/123456789012/reenable",
	"RELATCH_REENABLE_QUEUE_ARN=arn:aws:sqs:us-east-1:123456789012:reenable", "RELATCH_DEAD_LETTERS_URL=http://127.0.0.1/123456789012/dead",
	"RELATCH_SCHEDULE_GROUP=relatch", "RELATCH_SCHEDULE_ROLE=arn:aws:iam::123456789012:role/s",
	"RELATCH_SCHEDULE_DEAD_LETTERS=arn:aws:sqs:us-east-1:123456789012:dead", "RELATCH_POLICY_PARAMETER=p",
}

func TestTheFunctionsAreSmall(t *testing.T) {
	for _, name := range all {
		size := lambdatest.ZipSize(t, "./functions/"+name)
		t.Logf("%s: %d bytes zipped", name, size)
		if size > mostZip {
			t.Errorf("%s: %d bytes zipped, more than %d", name, size, mostZip)
		}
	}
}

func TestABatchOfTenTakesLittleMemory(t *testing.T) {
	a := stacktest.Open(t)
	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment("audit")...)
	var batch []sqstypes.Message
	for i := range 10 {
		sub := a.Add(t, wiretest.Person{
			Pool: a.EmailPool, Name: fmt.Sprintf("user-%d@example.com", i), Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
		})
		a.Switch(t, a.EmailPool, sub, false, mfa.TOTP)
		batch = append(batch, sqstypes.Message{MessageId: new(fmt.Sprint("m-", i)), Body: new(disable(a.EmailPool, sub, fmt.Sprint("e-", i), time.Now()))})
	}
	if answer, err := audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, batch...)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("%s, %v", answer, err)
	}
	if timers := len(a.Schedules(t)); timers != 10 {
		t.Errorf("%d timers", timers)
	}
	memory, err := audit.PeakMemory()
	if err != nil {
		t.Fatal(err) // only Linux says
	}
	t.Logf("%.1f MB at most", float64(memory)/1e6)
	if memory > mostMemory {
		t.Errorf("%d bytes, more than %d", memory, mostMemory)
	}
}

// BenchmarkStart measures from the start of the process to its first answer, for
// each function and, in turn with it, for the smallest one that aws-lambda-go can
// make. Whatever is asked of AWS is answered at once. The first two events ask
// nothing, as the smallest function does; the others ask about a user and an
// account of whom nothing is known.
func BenchmarkStart(b *testing.B) {
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		fmt.Fprint(w, cmp.Or(map[string]string{ // to the rest: there is nothing
			"GetParameter":         fmt.Sprintf(`{"Parameter":{"Value":%q}}`, mfa.DefaultDocument()),
			"GetUserPoolMfaConfig": `{"MfaConfiguration":"OPTIONAL"}`,
		}[operation], "{}"))
	}))
	defer aws.Close()
	env := append([]string{"AWS_ENDPOINT_URL=" + aws.URL}, dummy...)
	hello := lambdatest.Build(b, "./internal/lambdatest/testdata/hello")
	for _, function := range []struct{ name, event string }{
		{"audit", strings.Replace(disable("us-east-1_EXAMPLE12", "maria", "e-1", time.Now()), "AdminSetUserMFAPreference", "AdminGetUser", 1)}, // not relevant
		{"reenable", `{"pool_id":"us-east-1_OTHER","sub":"maria"}`},                                                                            // not ours
		{"reenable/asking", `{"pool_id":"us-east-1_EXAMPLE12","sub":"maria"}`},
		{"sweep/asking", `{}`},
	} {
		b.Run(function.name, func(b *testing.B) {
			program := lambdatest.Build(b, "./functions/"+strings.TrimSuffix(function.name, "/asking"))
			first := func(program string) float64 {
				f := lambdatest.Start(b, program, env...)
				defer f.Kill()
				if _, err := f.Invoke(b.Context(), []byte(function.event)); err != nil {
					b.Fatal(err)
				}
				return float64(f.FirstResponse())
			}
			var ours, bare []float64
			for b.Loop() {
				ours, bare = append(ours, first(program)), append(bare, first(hello))
			}
			b.ReportMetric(median(ours)/1e6, "ms/start")
			b.ReportMetric(median(bare)/1e6, "ms/hello")
			b.ReportMetric(median(ours)/median(bare), "ratio")
		})
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
