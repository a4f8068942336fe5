package archive

import (
	"strings"
	"testing"
)

const record = `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","sessionContext":{"attributes":{"creationDate":"2026-11-23T01:00:00Z"}}},` +
	`"eventTime":"2026-11-23T03:12:04Z","eventSource":"s3.amazonaws.com","eventName":"PutBucketPolicy","requestParameters":{"items":[{"a":1},{"b":{}}],"policy":"{\"Zones\":[{}]}"},"eventID":"e-1"}`

func spaced(text string) string {
	return strings.NewReplacer(`":`, `": `, `,"`, `, "`, `},{`, `}, {`).Replace(text)
}

// The speed depends on it, so it is not left to chance.
func TestARecordAsAWSWritesItIsFoundWithoutLookingAtEveryBrace(t *testing.T) {
	t.Parallel()
	plain := strings.Replace(record, `,"policy":"{\"Zones\":[{}]}"`, "", 1)
	for i, write := range []func(string) string{func(s string) string { return s }, spaced} {
		one := write(plain)
		end, h, ok := layouts[i].quick([]byte(write(plain + "," + plain)))
		if !ok || end != len(one) || string(h.at) != "2026-11-23T03:12:04Z" || string(h.source) != "s3.amazonaws.com" || string(h.name) != "PutBucketPolicy" {
			t.Errorf("%v, ends at %d of %d, %q", ok, end, len(one), h)
		}
		if end, _, ok := layouts[i].quick([]byte(one)); ok || end >= 0 {
			t.Errorf("without a record behind it: %v, %d; want that more is asked for", ok, end)
		}
	}
}

func TestBracesInStringsAreNotCounted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`}`, `{`, `}}}`, `{{{`, `},{`, `\"},{\"a\":{`, `\\`, `a}`, `a\\`, `{\"a`, `:{`, `a\":{`, `\\\"}`, `}]},`,
	} {
		one := strings.Replace(record, `"PutBucketPolicy"`, `"PutBucketPolicy","x":"`+text+`","y":{"`+text+`":"`+text+`"}`, 1)
		for _, write := range []func(string) string{func(s string) string { return s }, func(s string) string { return strings.ReplaceAll(s, `":`, `" :  `) }} {
			one := write(one)
			o := begin([]byte(one + "," + one))
			h, ok := o.head([]byte(one))
			if o.end != len(one) || !ok || string(h.name) != "PutBucketPolicy" {
				t.Errorf("%s: ends at %d of %d; %v, %q", text, o.end, len(one), ok, h)
			}
			for n := range one {
				if o := begin([]byte(one[:n])); o.end != 0 {
					t.Fatalf("%s: ends at %d, cut off at %d", text, o.end, n)
				}
			}
		}
	}
}
