package trail

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// The layouts of query results are those of the AWS pages: CloudTrail Lake's
// get-query-results (QueryResultRows, one object for each column), and UNLOAD to
// JSON from the table that Athena's page on CloudTrail logs defines.
func TestARowOfAQueryIsReadLikeTheRecordThatItIsOf(t *testing.T) {
	t.Parallel()
	const record = `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/SupportAdmin"},"sourceIdentity":"ann"}},` +
		`"eventTime":"2026-11-23T03:12:04Z","eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.10",` +
		`"requestParameters":{"userPoolId":"us-east-1_EXAMPLE12","username":"HIDDEN_DUE_TO_SECURITY_REASONS","softwareTokenMfaSettings":{"enabled":false}},"additionalEventData":{"sub":"u-1"},` +
		`"requestID":"r-1","eventID":"e-1","readOnly":false,"recipientAccountId":"111122223333"}`
	const columns = `{"eventversion":"1.11","useridentity":{"type":"AssumedRole","principalid":null,"arn":"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7","sessioncontext":{"attributes":null,"sessionissuer":{"arn":"arn:aws:iam::111122223333:role/SupportAdmin"},"sourceidentity":"ann"}},` +
		`"eventtime":"2026-11-23T03:12:04Z","eventsource":"cognito-idp.amazonaws.com","eventname":"AdminSetUserMFAPreference","awsregion":"us-east-1","sourceipaddress":"192.0.2.10","errorcode":null,` +
		`"requestparameters":"{\"userPoolId\":\"us-east-1_EXAMPLE12\",\"username\":\"HIDDEN_DUE_TO_SECURITY_REASONS\",\"softwareTokenMfaSettings\":{\"enabled\":false}}","responseelements":null,"additionaleventdata":"{\"sub\":\"u-1\"}",` +
		`"requestid":"r-1","eventid":"e-1","readonly":"false","recipientaccountid":"111122223333"}`
	quoted, err := jsontext.AppendQuote(nil, record)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]string{
		"Lake, eventJson":      `{"eventJson":` + string(quoted) + `}`,
		"eventjson in Athena":  `{"eventjson":` + string(quoted) + `,"eventname":"AdminSetUserMFAPreference"}`,
		"Athena, columns":      columns,
		"columns, white space": strings.ReplaceAll(columns, `","`, `" , "`),
		"columns, all as text": strings.Replace(columns, `"useridentity":{"type":"AssumedRole","principalid":null,"arn":"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7","sessioncontext":{"attributes":null,"sessionissuer":{"arn":"arn:aws:iam::111122223333:role/SupportAdmin"},"sourceidentity":"ann"}}`, `"useridentity":"{\"type\":\"AssumedRole\",\"arn\":\"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7\",\"sessionContext\":{\"sessionIssuer\":{\"arn\":\"arn:aws:iam::111122223333:role/SupportAdmin\"},\"sourceIdentity\":\"ann\"}}"`, 1),
	} {
		got, err := Parse([]byte(row))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-record +row):\n%s", name, err, diff)
		}
	}
}

func TestTheRowsOfALakeQueryAreTakenApart(t *testing.T) {
	t.Parallel()
	const answer = `{"QueryStatus":"FINISHED","QueryStatistics":{"ResultsCount":2,"TotalResultsCount":2,"BytesScanned":25077},` +
		`"QueryResultRows":[[{"eventJson":"{}"}],[{"eventJson":"{}"}]]}`
	var places []string
	for u := range Split([]byte(answer)) {
		places = append(places, u.Place+" "+string(u.Raw))
	}
	want := []string{`QueryResultRows[0] {"eventJson":"{}"}`, `QueryResultRows[1] {"eventJson":"{}"}`}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
