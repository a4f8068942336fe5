package cognito

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
)

// handOf is a Hand of a service that answers so.
func handOf(t *testing.T, answer http.HandlerFunc) *Hand {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return NewHand(cognito.NewFromConfig(mototest.Config(server.URL)))
}

func TestADisableSaysOutrightWhatIsFalse(t *testing.T) {
	var body, agent string
	h := handOf(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body, agent = string(raw), r.UserAgent()
		_, _ = io.WriteString(w, "{}")
	})
	if err := h.Disable(t.Context(), "us-east-1_EXAMPLE12", "maria", mfa.Factors, `CHG0012345 "urgent" `+strings.Repeat("x", 60)); err != nil {
		t.Fatal(err)
	}
	const want = `{"EmailMfaSettings":{"Enabled":false,"PreferredMfa":false},"SMSMfaSettings":{"Enabled":false,"PreferredMfa":false},` +
		`"SoftwareTokenMfaSettings":{"Enabled":false,"PreferredMfa":false},"UserPoolId":"us-east-1_EXAMPLE12","Username":"maria","WebAuthnMfaSettings":{"Enabled":false}}`
	if body != want {
		t.Errorf("have %s\nwant %s", body, want)
	}
	app := regexp.MustCompile(` app/(\S+)`).FindStringSubmatch(agent)
	if app == nil || !strings.HasPrefix(app[1], "relatch.CHG0012345--urgent--") || len(app[1]) != 50 {
		t.Errorf("user agent %s", agent)
	}
}

func TestATokenThatTheServiceCannotDeleteIsNoError(t *testing.T) {
	for _, c := range []struct {
		answer string
		done   bool
		failed bool
	}{
		{`{}`, true, false},
		{`{"__type":"UnknownOperationException"}`, false, false},
		{`{"__type":"OperationNotEnabledException"}`, false, false},
		{`{"__type":"AccessDeniedException"}`, false, true},
		{`{"__type":"UserNotFoundException"}`, false, true},
	} {
		h := handOf(t, func(w http.ResponseWriter, _ *http.Request) {
			if !c.done {
				w.WriteHeader(http.StatusBadRequest)
			}
			_, _ = io.WriteString(w, c.answer)
		})
		done, err := h.DeleteToken(t.Context(), "us-east-1_EXAMPLE12", "maria", "CHG0012345")
		if done != c.done || (err != nil) != c.failed {
			t.Errorf("%s: %v, %v", c.answer, done, err)
		}
	}
}
