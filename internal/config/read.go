package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// auditQueueURL is the one required variable that audit, reenable and sweep do not need.
const auditQueueURL = "RELATCH_AUDIT_QUEUE_URL"

// Read reads the configuration of audit, reenable and sweep from an environment
// as os.Environ lists it. A variable that is empty is not set; space around values and the items of lists
// does not count. The error joins every problem, each with its variable, what is
// wrong and what to do, and comes with the zero Config. A variable whose name
// begins with RELATCH_ and which does not exist is a problem too: with a name
// mistyped, a default would hold in silence.
func Read(environ []string) (Config, error) {
	return read(environ, func(name string) bool { return name != auditQueueURL })
}

// ReadOverride reads, as Read does, that of override. It needs RELATCH_POOLS,
// RELATCH_TABLE, RELATCH_AUDIT_QUEUE_URL and a place of the policy.
func ReadOverride(environ []string) (Config, error) {
	return read(environ, func(name string) bool {
		return name == "RELATCH_POOLS" || name == "RELATCH_TABLE" || name == auditQueueURL
	})
}

func read(environ []string, needs func(name string) bool) (Config, error) {
	r := reader{vars: map[string]string{}, needs: needs}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "RELATCH_") {
			r.vars[name] = strings.TrimSpace(value)
		}
	}
	pools := r.list("RELATCH_POOLS", pool, true)
	c := Config{
		Observe:        r.either("RELATCH_MODE", "enforce", "observe") == "observe",
		OwnRoles:       r.list("RELATCH_OWN_ROLES", role, true),
		DeploymentRole: r.optional("RELATCH_DEPLOYMENT_ROLE", role),
		Guard:          r.list("RELATCH_GUARD", guarded, false),

		Table:               r.required("RELATCH_TABLE", name("the ledger's table")),
		AlertBus:            r.required("RELATCH_ALERT_BUS", name("the event bus for alerts, or its ARN")),
		ReenableQueueURL:    r.required("RELATCH_REENABLE_QUEUE_URL", queueURL),
		ReenableQueueARN:    r.required("RELATCH_REENABLE_QUEUE_ARN", queueARN),
		AuditQueueURL:       r.required(auditQueueURL, queueURL),
		DeadLettersURL:      r.required("RELATCH_DEAD_LETTERS_URL", queueURL),
		ScheduleGroup:       r.required("RELATCH_SCHEDULE_GROUP", name("Relatch's schedule group")),
		ScheduleRole:        r.required("RELATCH_SCHEDULE_ROLE", role),
		ScheduleDeadLetters: r.required("RELATCH_SCHEDULE_DEAD_LETTERS", queueARN),

		PolicyTable:     r.optional("RELATCH_POLICY_TABLE", name("the table with the policy record")),
		PolicyKey:       r.optional("RELATCH_POLICY_KEY", name("the table's key attribute")),
		PolicyValue:     r.optional("RELATCH_POLICY_VALUE", name("the attribute with the policy record")),
		PolicyParameter: r.optional("RELATCH_POLICY_PARAMETER", name("the SSM parameter with the policy record")),
		PolicyFor:       r.span("RELATCH_POLICY_FOR", time.Minute, 15*time.Minute),

		PoolFor:     r.span("RELATCH_POOL_FOR", 30*time.Second, 5*time.Minute),
		QuotaShare:  r.share("RELATCH_QUOTA_SHARE", 0.25),
		Concurrency: r.count("RELATCH_CONCURRENCY", 1),
		AuthFactors: r.either("RELATCH_AUTH_FACTORS", "on", "off") == "on",
	}
	for _, p := range pools {
		c.Pools = append(c.Pools, mfa.PoolID(p[strings.LastIndexByte(p, '/')+1:]))
	}
	r.spell(&c)
	r.oneQueue(&c)
	r.onePolicy(&c)
	for _, name := range slices.Sorted(maps.Keys(r.vars)) {
		r.problem(name, "is no variable of Relatch", "correct the name or remove it")
	}
	if len(r.problems) > 0 {
		return Config{}, errors.Join(r.problems...)
	}
	return c, nil
}

// reader takes variables out of an environment and collects what is wrong.
type reader struct {
	vars     map[string]string
	needs    func(name string) bool // of what is required, what this function needs
	problems []error
}

func (r *reader) problem(name, what, remedy string) {
	r.problems = append(r.problems, fmt.Errorf("%s: %s; %s", name, what, remedy))
}

// take returns a variable's value. Those that nobody takes do not exist.
func (r *reader) take(name string) string {
	value := r.vars[name]
	delete(r.vars, name)
	return value
}

// form is what a value has to look like.
type form struct {
	fits func(string) bool
	text string // ends the sentence "set it to …"
}

var (
	pool     = form{regexp.MustCompile(`^(arn:[^:]+:cognito-idp:[^:]+:[0-9]{12}:userpool/)?[a-z]+(-[a-z]+)+-[0-9]+_[0-9A-Za-z]+$`).MatchString, "the id of a user pool, such as us-east-1_EXAMPLE12, or its ARN"}
	role     = arn("iam", "role/", "the ARN of an IAM role, such as arn:aws:iam::111122223333:role/name")
	queueARN = arn("sqs", "", "the ARN of a queue, such as arn:aws:sqs:us-east-1:111122223333:name")
	anyARN   = arn("", "", "")
	guarded  = form{func(s string) bool { return anyARN.fits(s) || !strings.HasPrefix(s, "arn:") && shortARN.MatchString(s) }, "the ARN of one of Relatch's own resources"}
	queueURL = form{isURL, "the URL of a queue, such as https://sqs.us-east-1.amazonaws.com/111122223333/name"}
)

// shortARN is an ARN without its partition, Region and account.
var shortARN = regexp.MustCompile(`^[a-z0-9-]+:[^\s:,][^\s,]*$`)

// name is the form of what AWS has a name for: whether there is such a thing is
// AWS's to say.
func name(of string) form {
	return form{func(s string) bool { return !strings.ContainsAny(s, " \t\r\n,") }, "the name of " + of}
}

// arn is the form of an ARN of a service, "" for any, whose resource begins so.
func arn(service, resource, text string) form {
	return form{func(s string) bool {
		f := strings.SplitN(s, ":", 6)
		return len(f) == 6 && f[0] == "arn" && f[1] != "" && f[2] != "" && (service == "" || f[2] == service) &&
			strings.HasPrefix(f[5], resource) && len(f[5]) > len(resource) && !strings.ContainsAny(s, " \t\r\n,")
	}, text}
}

// isURL reports whether s is an absolute URL with a path. That of a queue on a
// test's server is not encrypted.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(u.Path) > 1
}

func (r *reader) optional(name string, f form) string {
	value := r.take(name)
	if value != "" && !f.fits(value) {
		r.problem(name, "is not of the right form", "set it to "+f.text)
	}
	return value
}

func (r *reader) required(name string, f form) string {
	if r.vars[name] == "" && r.needs(name) {
		r.problem(name, "is not set", "set it to "+f.text)
	}
	return r.optional(name, f)
}

func listOf(f form) string { return "set it to a list, separated by commas, each item " + f.text }

func (r *reader) list(name string, f form, required bool) []string {
	value := r.take(name)
	if value == "" {
		if required && r.needs(name) {
			r.problem(name, "is not set", listOf(f))
		}
		return nil
	}
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
		switch first := slices.Index(items, items[i]); {
		case !f.fits(items[i]):
			r.problem(name, fmt.Sprintf("item %d is not of the right form", i+1), listOf(f))
		case first < i:
			r.problem(name, fmt.Sprintf("item %d repeats item %d", i+1, first+1), "remove it")
		}
	}
	return items
}

// either reads one of two words; the first one is the default.
func (r *reader) either(name, first, second string) string {
	value := r.take(name)
	switch value {
	case "":
		return first
	case first, second:
	default:
		r.problem(name, "is neither "+first+" nor "+second, "set it to one of them, or remove it for "+first)
	}
	return value
}

func (r *reader) span(name string, otherwise, most time.Duration) time.Duration {
	value := r.take(name)
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > most {
		r.problem(name, "is not a time from 0s to "+short(most), "set it to one, such as 45s, or remove it for "+short(otherwise))
	}
	return d
}

// short writes a span of whole minutes as people do: 15m, not 15m0s.
func short(d time.Duration) string { return strings.Replace(d.String(), "m0s", "m", 1) }

func (r *reader) share(name string, otherwise float64) float64 {
	value := r.take(name)
	if value == "" {
		return otherwise
	}
	share, err := strconv.ParseFloat(value, 64)
	if err != nil || !(share > 0 && share <= 1) { // not a number is neither
		r.problem(name, "is not a number above 0 and at most 1", fmt.Sprintf("set it to one, or remove it for %v", otherwise))
	}
	return share
}

func (r *reader) count(name string, otherwise int) int {
	value := r.take(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		r.problem(name, "is not a whole number of 1 or more", fmt.Sprintf("set it to the function's reserved concurrency, or remove it for %d", otherwise))
	}
	return n
}

// spell writes the guard's short ARNs out. IAM's have no Region.
func (r *reader) spell(c *Config) {
	here := strings.Split(c.ReenableQueueARN, ":")
	for i, short := range c.Guard {
		service, resource, _ := strings.Cut(short, ":")
		switch {
		case service == "arn", !guarded.fits(short): // written out, or told already
		case !queueARN.fits(c.ReenableQueueARN):
			r.problem("RELATCH_GUARD", fmt.Sprintf("item %d is short, and RELATCH_REENABLE_QUEUE_ARN does not say of which account and Region", i+1), "set that, or write the ARN out")
		case service == "iam":
			c.Guard[i] = strings.Join([]string{"arn", here[1], service, "", here[4], resource}, ":")
		default:
			c.Guard[i] = strings.Join([]string{"arn", here[1], service, here[3], here[4], resource}, ":")
		}
	}
}

// oneQueue checks that reenable's queue is the same by URL and ARN: timers go by
// the one, requests by the other.
func (r *reader) oneQueue(c *Config) {
	if !queueURL.fits(c.ReenableQueueURL) || !queueARN.fits(c.ReenableQueueARN) {
		return
	}
	f := strings.Split(c.ReenableQueueARN, ":")
	if !strings.HasSuffix(c.ReenableQueueURL, "/"+f[4]+"/"+f[5]) {
		r.problem("RELATCH_REENABLE_QUEUE_URL", "is of another queue than RELATCH_REENABLE_QUEUE_ARN", "set both to those of reenable's queue")
	}
}

// onePolicy checks that the policy record has one place, and sets the defaults
// of that.
func (r *reader) onePolicy(c *Config) {
	const place = "RELATCH_POLICY_TABLE"
	switch {
	case c.PolicyTable != "" && c.PolicyParameter != "":
		r.problem(place, "is set, and so is RELATCH_POLICY_PARAMETER", "remove one of them")
	case c.PolicyTable == "" && c.PolicyParameter == "":
		r.problem(place, "is not set, and neither is RELATCH_POLICY_PARAMETER", "set one of them to where the policy record is")
	case c.PolicyTable == "" && (c.PolicyKey != "" || c.PolicyValue != ""):
		r.problem(place, "is not set, but RELATCH_POLICY_KEY or RELATCH_POLICY_VALUE is", "remove them, a parameter has neither")
	case c.PolicyTable != "":
		c.PolicyKey, c.PolicyValue = cmp.Or(c.PolicyKey, "name"), cmp.Or(c.PolicyValue, "value")
	}
}
