package infra_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// request is one that a policy is asked about. keys are the condition keys that
// it has, with their values, besides aws:PrincipalArn.
type request struct {
	principal, action, resource string
	keys                        map[string][]string
}

func (r request) String() string {
	return fmt.Sprintf("%s on %s by %s %v", r.action, r.resource, r.principal, r.keys)
}

// denied reports whether a statement denies the request.
func denied(t testing.TB, policy []statement, r request) bool {
	t.Helper()
	for _, st := range policy {
		like := func(value string) func(string) bool {
			return func(pattern string) bool { return wildcard(value, pattern) }
		}
		if st.effect != "Deny" || !slices.ContainsFunc(st.actions, like(r.action)) || !slices.ContainsFunc(st.resources, like(r.resource)) {
			continue
		}
		met, err := r.meets(st.condition)
		if err != nil {
			t.Fatalf("%s: %v", st.where, err)
		}
		if met {
			return true
		}
	}
	return false
}

// meets reports whether all conditions hold (IAM User Guide, "IAM JSON policy
// elements: Condition operators"). An operator that it does not know is an error.
func (r request) meets(condition map[string]any) (bool, error) {
	for operator, v := range condition {
		for key, wants := range object(v) {
			have := r.keys[key]
			if key == "aws:PrincipalArn" {
				have = []string{r.principal}
			}
			if ok, err := compare(operator, have, texts(wants)); err != nil || !ok {
				return false, err
			}
		}
	}
	return true, nil
}

func compare(operator string, have, wants []string) (bool, error) {
	quantity, plain, quantified := strings.Cut(operator, ":")
	if !quantified {
		quantity, plain = "", operator
	}
	plain, ifExists := strings.CutSuffix(plain, "IfExists")
	negated := strings.Contains(plain, "Not")
	var same func(value, want string) bool
	switch strings.Replace(plain, "Not", "", 1) {
	case "StringEquals":
		same = func(value, want string) bool { return value == want }
	case "Bool":
		same = strings.EqualFold
	case "StringLike", "ArnLike", "ArnEquals": // the two of ARNs are one
		same = wildcard
	default:
		return false, fmt.Errorf("condition operator %s: %w", operator, errUnknown)
	}
	one := func(value string) bool {
		return negated != slices.ContainsFunc(wants, func(want string) bool { return same(value, want) })
	}
	switch {
	case quantity == "ForAllValues":
		return !slices.ContainsFunc(have, func(v string) bool { return !one(v) }), nil
	case quantity == "ForAnyValue":
		return slices.ContainsFunc(have, one), nil
	case quantity != "":
		return false, fmt.Errorf("condition operator %s: %w", operator, errUnknown)
	case len(have) == 0:
		return ifExists || negated, nil
	default:
		return one(have[0]), nil
	}
}

func TestConditionsMeanWhatIAMSaysTheyMean(t *testing.T) {
	for _, c := range []struct {
		operator    string
		have, wants []string
		want, known bool
	}{
		{"StringEquals", []string{"a"}, []string{"b", "a"}, true, true},
		{"StringEquals", []string{"ab"}, []string{"a*"}, false, true},
		{"StringEquals", nil, []string{"a"}, false, true},
		{"StringEqualsIfExists", nil, []string{"a"}, true, true},
		{"StringNotEquals", nil, []string{"a"}, true, true},
		{"StringNotEquals", []string{"a"}, []string{"a"}, false, true},
		{"StringLike", []string{"ab"}, []string{"a*"}, true, true},
		{"ArnNotLike", []string{"arn:x"}, []string{"arn:*"}, false, true},
		{"ArnNotEquals", []string{"arn:x"}, []string{"arn:y"}, true, true},
		{"Bool", []string{"false"}, []string{"false"}, true, true},
		{"Bool", nil, []string{"false"}, false, true},
		{"BoolIfExists", nil, []string{"false"}, true, true},
		{"BoolIfExists", []string{"true"}, []string{"false"}, false, true},
		{"ForAllValues:StringEquals", []string{"a", "b"}, []string{"a"}, false, true},
		{"ForAllValues:StringEquals", nil, []string{"a"}, true, true},
		{"ForAnyValue:StringEquals", []string{"a", "b"}, []string{"b"}, true, true},
		{"ForAnyValue:StringEquals", nil, []string{"b"}, false, true},
		{"NumericEquals", []string{"1"}, []string{"1"}, false, false},
		{"ForSomeValues:StringEquals", []string{"1"}, []string{"1"}, false, false},
		{"Null", nil, []string{"true"}, false, false},
	} {
		if got, err := compare(c.operator, c.have, c.wants); got != c.want || (err == nil) != c.known {
			t.Errorf("%s %v of %v: %v, %v", c.operator, c.wants, c.have, got, err)
		}
	}
}
