// Package wiretest is an AWS account on loopback for tests of the whole: moto
// and Amazon DynamoDB Local, with the resources that the functions work with and
// the environment that tells them of these.
//
// It refuses to know the functions: what it makes, and what it shows, it makes
// and sees with the AWS SDK alone, as an administrator would.
package wiretest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/dynamotest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
)

// The names of what an Account has, as the stack "relatch" has them.
const (
	Table         = "relatch"
	PropertyTable = "StackFlow_SystemProperty"
	AlertBus      = "relatch-alerts"
	ScheduleGroup = "relatch"
	ScheduleRole  = "arn:aws:iam::" + mototest.Account + ":role/relatch-" + mototest.Region + "-timer"
	AuditRole     = "arn:aws:iam::" + mototest.Account + ":role/relatch-" + mototest.Region + "-audit"
	ReenableRole  = "arn:aws:iam::" + mototest.Account + ":role/relatch-" + mototest.Region + "-reenable"
	SweepRole     = "arn:aws:iam::" + mototest.Account + ":role/relatch-" + mototest.Region + "-sweep"
)

// Queue is one of the account's queues, by its name.
type Queue string

// The queues.
const (
	AuditQueue          Queue = "relatch-audit"
	ReenableQueue       Queue = "relatch-reenable"
	DeadLetters         Queue = "relatch-audit-dead-letters"
	ReenableDeadLetters Queue = "relatch-reenable-dead-letters" // of the stack alone
	TimerDeadLetter     Queue = "relatch-timer-dead-letters"
	AlertQueue          Queue = "on-call" // gets what comes to the alert bus
)

// ARN is the queue's.
func (q Queue) ARN() string {
	return "arn:aws:sqs:" + mototest.Region + ":" + mototest.Account + ":" + string(q)
}

// Account is the account.
type Account struct {
	// Moto is the configuration of clients of everything but DynamoDB, Dynamo of
	// clients of DynamoDB.
	Moto, Dynamo aws.Config
	// Pool has usernames, whose subs moto does not take for the username, as
	// Cognito does not those of federated users. EmailPool has e-mail addresses.
	Pool, EmailPool mfa.PoolID

	Cognito   *cognitoidentityprovider.Client
	DynamoDB  *dynamodb.Client
	Events    *eventbridge.Client
	Scheduler *scheduler.Client
	SQS       *sqs.Client

	urls    map[Queue]string
	clients map[mfa.PoolID]*string
	names   map[mfa.Sub]string
	dynamo  string // endpoint
	key     string // access key, which names the database
}

// Open makes an account of the test's own that has the resources which the
// functions work with, made by hand; stacktest.Open has those of the stack. Without
// the servers the test is skipped, or fails where RELATCH_SERVERS is "required".
func Open(t testing.TB) *Account {
	t.Helper()
	a := Start(t)
	made[*dynamodb.CreateTableOutput](t, "create the ledger's table")(a.DynamoDB.CreateTable(t.Context(), dynamo.Table(Table)))
	a.MakeQueues(t, AuditQueue, ReenableQueue, DeadLetters, TimerDeadLetter, AlertQueue)
	made[*eventbridge.CreateEventBusOutput](t, "create bus")(a.Events.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: new(AlertBus)}))
	a.rule(t, "relatch", "default", `{"source":["aws.cognito-idp"],"detail-type":["AWS API Call via CloudTrail","AWS Service Event via CloudTrail"]}`, AuditQueue)
	a.rule(t, "on-call", AlertBus, `{"source":["relatch"],"detail-type":["MFA Alert"]}`, AlertQueue)
	a.MakeScheduleGroup(t, ScheduleGroup)
	return a
}

// Start makes an account that has pools and the policy, and nothing of Relatch.
func Start(t testing.TB) *Account {
	t.Helper()
	a := &Account{
		dynamo: dynamotest.Endpoint(t), key: "wire" + strings.ToLower(rand.Text()),
		urls: map[Queue]string{}, clients: map[mfa.PoolID]*string{}, names: map[mfa.Sub]string{},
	}
	a.Dynamo, a.Moto = dynamotest.Config(a.dynamo, a.key), mototest.Start(t)
	a.Cognito, a.DynamoDB = cognitoidentityprovider.NewFromConfig(a.Moto), dynamodb.NewFromConfig(a.Dynamo)
	a.Events, a.Scheduler, a.SQS = eventbridge.NewFromConfig(a.Moto), scheduler.NewFromConfig(a.Moto), sqs.NewFromConfig(a.Moto)
	a.properties(t)
	a.Pool, a.EmailPool = a.pool(t, "usernames"), a.pool(t, "addresses", cognitotypes.UsernameAttributeTypeEmail)
	return a
}

// made ends the test if something could not be made.
func made[T any](t testing.TB, what string) func(T, error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil && !mototest.Lost(err) {
			t.Fatalf("%s: %v", what, err)
		}
		return out
	}
}

// properties makes the product's table, with the policy in it.
func (a *Account) properties(t testing.TB) {
	t.Helper()
	made[*dynamodb.CreateTableOutput](t, "create the properties' table")(a.DynamoDB.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: new(PropertyTable), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: new("name"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: new("name"), KeyType: types.KeyTypeHash}},
	}))
	a.SetPolicy(t, string(mfa.DefaultDocument()))
}

// SetPolicy stores the record mfa.required_roles.
func (a *Account) SetPolicy(t testing.TB, document string) {
	t.Helper()
	made[*dynamodb.PutItemOutput](t, "put the policy")(a.DynamoDB.PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: new(PropertyTable), Item: map[string]types.AttributeValue{
			"name": &types.AttributeValueMemberS{Value: "mfa.required_roles"}, "value": &types.AttributeValueMemberS{Value: document},
		},
	}))
}

// MakeQueues makes queues.
func (a *Account) MakeQueues(t testing.TB, queues ...Queue) {
	t.Helper()
	for _, q := range queues {
		made[*sqs.CreateQueueOutput](t, "create queue")(a.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new(string(q))}))
	}
	a.FindQueues(t, queues...)
}

// FindQueues finds queues that somebody else has made. Where moto's answer is lost,
// what was received can be received again at once.
func (a *Account) FindQueues(t testing.TB, queues ...Queue) {
	t.Helper()
	for _, q := range queues {
		url := made[*sqs.GetQueueUrlOutput](t, "find queue")(a.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: new(string(q))})).QueueUrl
		made[*sqs.SetQueueAttributesOutput](t, "set queue")(a.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: url, Attributes: map[string]string{"VisibilityTimeout": "0"},
		}))
		a.urls[q] = *url
	}
}

// MakeScheduleGroup makes a group of schedules.
func (a *Account) MakeScheduleGroup(t testing.TB, name string) {
	t.Helper()
	made[*scheduler.CreateScheduleGroupOutput](t, "create schedule group")(a.Scheduler.CreateScheduleGroup(t.Context(), &scheduler.CreateScheduleGroupInput{Name: &name}))
}

// WholeEvent is the event as it is, which a target gets without it too; but that
// takes moto 100 ms of its one processor for each event.
var WholeEvent = &eventbridgetypes.InputTransformer{
	InputPathsMap: map[string]string{"id": "$.id"}, InputTemplate: new("<aws.events.event.json>"),
}

// rule sends what the pattern matches on the bus to the queue.
func (a *Account) rule(t testing.TB, name, bus, pattern string, to Queue) {
	t.Helper()
	made[*eventbridge.PutRuleOutput](t, "put rule")(a.Events.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &name, EventBusName: &bus, EventPattern: &pattern}))
	made[*eventbridge.PutTargetsOutput](t, "put target")(a.Events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &bus, Targets: []eventbridgetypes.Target{{Id: new("queue"), Arn: new(to.ARN()), InputTransformer: WholeEvent}},
	}))
}

func (a *Account) pool(t testing.TB, name string, usernames ...cognitotypes.UsernameAttributeType) mfa.PoolID {
	t.Helper()
	ctx := t.Context()
	lambda := "arn:aws:lambda:" + mototest.Region + ":" + mototest.Account + ":function:pretoken"
	id := made[*cognitoidentityprovider.CreateUserPoolOutput](t, "create pool")(a.Cognito.CreateUserPool(ctx, &cognitoidentityprovider.CreateUserPoolInput{
		PoolName: &name, UsernameAttributes: usernames, LambdaConfig: &cognitotypes.LambdaConfigType{PreTokenGeneration: &lambda},
	})).UserPool.Id
	made[*cognitoidentityprovider.SetUserPoolMfaConfigOutput](t, "set the pool's MFA")(a.Cognito.SetUserPoolMfaConfig(ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{
		UserPoolId: id, MfaConfiguration: cognitotypes.UserPoolMfaTypeOptional,
		SoftwareTokenMfaConfiguration: &cognitotypes.SoftwareTokenMfaConfigType{Enabled: true},
		SmsMfaConfiguration:           &cognitotypes.SmsMfaConfigType{SmsConfiguration: &cognitotypes.SmsConfigurationType{SnsCallerArn: new("arn:aws:iam::" + mototest.Account + ":role/sms")}},
	}))
	a.clients[mfa.PoolID(*id)] = made[*cognitoidentityprovider.CreateUserPoolClientOutput](t, "create client")(a.Cognito.CreateUserPoolClient(ctx, &cognitoidentityprovider.CreateUserPoolClientInput{
		UserPoolId: id, ClientName: new("test"), ExplicitAuthFlows: []cognitotypes.ExplicitAuthFlowsType{cognitotypes.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
	})).UserPoolClient.ClientId
	for _, role := range mfa.DefaultPolicy().RequiredRoles {
		made[*cognitoidentityprovider.CreateGroupOutput](t, "create group")(a.Cognito.CreateGroup(ctx, &cognitoidentityprovider.CreateGroupInput{UserPoolId: id, GroupName: new(string(role))}))
	}
	return mfa.PoolID(*id)
}

// Environment is what the functions are told, and then what is given.
func (a *Account) Environment(more ...string) []string {
	return a.Here(append([]string{
		"RELATCH_POOLS=" + string(a.Pool) + "," + string(a.EmailPool),
		"RELATCH_OWN_ROLES=" + strings.Join([]string{AuditRole, ReenableRole, SweepRole}, ","),
		"RELATCH_TABLE=" + Table, "RELATCH_ALERT_BUS=" + AlertBus,
		"RELATCH_REENABLE_QUEUE_URL=" + a.urls[ReenableQueue], "RELATCH_REENABLE_QUEUE_ARN=" + ReenableQueue.ARN(),
		"RELATCH_AUDIT_QUEUE_URL=" + a.urls[AuditQueue], "RELATCH_DEAD_LETTERS_URL=" + a.urls[DeadLetters],
		"RELATCH_SCHEDULE_GROUP=" + ScheduleGroup, "RELATCH_SCHEDULE_ROLE=" + ScheduleRole, "RELATCH_SCHEDULE_DEAD_LETTERS=" + TimerDeadLetter.ARN(),
		"RELATCH_POLICY_TABLE=" + PropertyTable, "RELATCH_QUOTA_SHARE=1",
	}, more...)...)
}

// Here is what Lambda tells a function in this account, what moto makes
// necessary, and then what is given.
func (a *Account) Here(more ...string) []string {
	return append([]string{
		"AWS_REGION=" + mototest.Region, "AWS_ACCESS_KEY_ID=" + a.key, "AWS_SECRET_ACCESS_KEY=test",
		"AWS_ENDPOINT_URL=" + *a.Moto.BaseEndpoint, "AWS_ENDPOINT_URL_DYNAMODB=" + a.dynamo,
		"RELATCH_AUTH_FACTORS=off", // moto does not know AdminGetUserAuthFactors
	}, more...)
}

// Person is somebody to be made.
type Person struct {
	Pool       mfa.PoolID
	Name       string // in a pool with e-mail addresses the address
	Roles      []mfa.Role
	Registered []mfa.Factor // TOTP or SMS
	Factors    []mfa.Factor // switched on; those registered
}

const password = "Correct-Horse-1"

// Add makes a user, with a token that has been verified if TOTP is registered.
func (a *Account) Add(t testing.TB, p Person) mfa.Sub {
	t.Helper()
	ctx, id := t.Context(), new(string(p.Pool))
	var attributes []cognitotypes.AttributeType
	if slices.Contains(p.Registered, mfa.SMS) {
		attributes = append(attributes, cognitotypes.AttributeType{Name: new("phone_number"), Value: new("+12025550100")}, cognitotypes.AttributeType{Name: new("phone_number_verified"), Value: new("true")})
	}
	made[*cognitoidentityprovider.AdminCreateUserOutput](t, "create user")(a.Cognito.AdminCreateUser(ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: id, Username: &p.Name, UserAttributes: attributes, MessageAction: cognitotypes.MessageActionTypeSuppress,
	}))
	made[*cognitoidentityprovider.AdminSetUserPasswordOutput](t, "set password")(a.Cognito.AdminSetUserPassword(ctx, &cognitoidentityprovider.AdminSetUserPasswordInput{
		UserPoolId: id, Username: &p.Name, Password: new(password), Permanent: true,
	}))
	if slices.Contains(p.Registered, mfa.TOTP) {
		a.enrol(t, p)
	}
	for _, role := range p.Roles {
		made[*cognitoidentityprovider.AdminAddUserToGroupOutput](t, "add to group")(a.Cognito.AdminAddUserToGroup(ctx, &cognitoidentityprovider.AdminAddUserToGroupInput{
			UserPoolId: id, Username: &p.Name, GroupName: new(string(role)),
		}))
	}
	a.set(t, p.Pool, p.Name, p.Factors, true)
	seen := made[*cognitoidentityprovider.AdminGetUserOutput](t, "get user")(a.Cognito.AdminGetUser(ctx, &cognitoidentityprovider.AdminGetUserInput{UserPoolId: id, Username: &p.Name}))
	for _, attribute := range seen.UserAttributes {
		if *attribute.Name == "sub" {
			sub := mfa.Sub(*attribute.Value)
			a.names[sub] = p.Name
			return sub
		}
	}
	t.Fatalf("%s has no sub", p.Name)
	return ""
}

func (a *Account) enrol(t testing.TB, p Person) {
	t.Helper()
	in := made[*cognitoidentityprovider.AdminInitiateAuthOutput](t, "sign in")(a.Cognito.AdminInitiateAuth(t.Context(), &cognitoidentityprovider.AdminInitiateAuthInput{
		UserPoolId: new(string(p.Pool)), ClientId: a.clients[p.Pool], AuthFlow: cognitotypes.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": p.Name, "PASSWORD": password},
	}))
	token := in.AuthenticationResult.AccessToken
	made[*cognitoidentityprovider.AssociateSoftwareTokenOutput](t, "associate token")(a.Cognito.AssociateSoftwareToken(t.Context(), &cognitoidentityprovider.AssociateSoftwareTokenInput{AccessToken: token}))
	made[*cognitoidentityprovider.VerifySoftwareTokenOutput](t, "verify token")(a.Cognito.VerifySoftwareToken(t.Context(), &cognitoidentityprovider.VerifySoftwareTokenInput{AccessToken: token, UserCode: new("123456")}))
}

// Enrol has a user who can sign in without MFA verify a token.
func (a *Account) Enrol(t testing.TB, pool mfa.PoolID, sub mfa.Sub) {
	t.Helper()
	a.enrol(t, Person{Pool: pool, Name: a.names[sub]})
}

// Switch switches factors of a user on or off, as an administrator does.
func (a *Account) Switch(t testing.TB, pool mfa.PoolID, sub mfa.Sub, on bool, factors ...mfa.Factor) {
	t.Helper()
	a.set(t, pool, a.names[sub], factors, on)
}

// Set makes the factors those that are switched on, of TOTP and SMS, and
// preferred the preferred one, if it is not empty.
func (a *Account) Set(t testing.TB, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) {
	t.Helper()
	setting := func(f mfa.Factor) map[string]any {
		return map[string]any{"Enabled": slices.Contains(factors, f), "PreferredMfa": preferred == f}
	}
	a.prefer(t, a.names[sub], map[string]any{
		"UserPoolId": pool, "Username": a.names[sub], "SoftwareTokenMfaSettings": setting(mfa.TOTP), "SMSMfaSettings": setting(mfa.SMS),
	})
}

// set asks in words of its own: the SDK leaves "Enabled" out when it is false,
// and moto, unlike Cognito, then changes nothing.
func (a *Account) set(t testing.TB, pool mfa.PoolID, name string, factors []mfa.Factor, on bool) {
	t.Helper()
	body := map[string]any{"UserPoolId": pool, "Username": name}
	for i, f := range factors {
		setting := map[string]any{"Enabled": on, "PreferredMfa": on && i == 0}
		switch f {
		case mfa.TOTP:
			body["SoftwareTokenMfaSettings"] = setting
		case mfa.SMS:
			body["SMSMfaSettings"] = setting
		default:
			t.Fatalf("moto has no factor %s", f)
		}
	}
	a.prefer(t, name, body)
}

func (a *Account) prefer(t testing.TB, name string, body map[string]any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ask(t.Context(), "AWSCognitoIdentityProviderService.AdminSetUserMFAPreference", string(raw)); err != nil {
		t.Fatalf("set the factors of %s: %v", name, err)
	}
}

// ask asks moto's Cognito.
func (a *Account) ask(ctx context.Context, target, body string) error {
	_, err := a.Ask(ctx, "cognito-idp", http.MethodPost, "/", body, "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", target)
	return err
}

// Ask asks moto's service in words of the test's own, such as one for which there
// is no client here, and returns the answer. The headers are names and values in turn.
func (a *Account) Ask(ctx context.Context, service, method, path, body string, headers ...string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, *a.Moto.BaseEndpoint+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	answer, err := io.ReadAll(out.Body)
	if out.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s %s: %s: %s", service, method, path, out.Status, answer)
	}
	return answer, err
}

// Bucket makes an S3 bucket.
func (a *Account) Bucket(t testing.TB, name string) {
	t.Helper()
	if _, err := a.Ask(t.Context(), "s3", http.MethodPut, "/"+name, ""); err != nil {
		t.Fatal(err)
	}
}

// Factors are those switched on, as Cognito names them.
func (a *Account) Factors(t testing.TB, pool mfa.PoolID, sub mfa.Sub) []string {
	t.Helper()
	return made[*cognitoidentityprovider.AdminGetUserOutput](t, "get user")(a.Cognito.AdminGetUser(t.Context(), &cognitoidentityprovider.AdminGetUserInput{
		UserPoolId: new(string(pool)), Username: new(a.names[sub]),
	})).UserMFASettingList
}

// Session is what a user has who has signed in.
type Session struct {
	pool            mfa.PoolID
	access, refresh *string
}

// SignIn signs in a user of whom no second factor is asked. In the pool with
// addresses it does so by the sub: moto keeps a session under the name that was
// used, and that of the address would not end with AdminUserGlobalSignOut of the sub.
func (a *Account) SignIn(t testing.TB, pool mfa.PoolID, sub mfa.Sub) Session {
	t.Helper()
	name := a.names[sub]
	if pool == a.EmailPool {
		name = string(sub)
	}
	in := made[*cognitoidentityprovider.AdminInitiateAuthOutput](t, "sign in")(a.Cognito.AdminInitiateAuth(t.Context(), &cognitoidentityprovider.AdminInitiateAuthInput{
		UserPoolId: new(string(pool)), ClientId: a.clients[pool], AuthFlow: cognitotypes.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": name, "PASSWORD": password},
	}))
	if in.AuthenticationResult == nil {
		t.Fatalf("sign in %s: %s is asked for", sub, in.ChallengeName)
	}
	return Session{pool, in.AuthenticationResult.AccessToken, in.AuthenticationResult.RefreshToken}
}

// Lives reports which of the session's tokens Cognito still takes.
func (a *Account) Lives(t testing.TB, s Session) (access, refresh bool) {
	t.Helper()
	_, err := a.Cognito.GetUser(t.Context(), &cognitoidentityprovider.GetUserInput{AccessToken: s.access})
	access = taken(t, err)
	_, err = a.Cognito.AdminInitiateAuth(t.Context(), &cognitoidentityprovider.AdminInitiateAuthInput{
		UserPoolId: new(string(s.pool)), ClientId: a.clients[s.pool], AuthFlow: cognitotypes.AuthFlowTypeRefreshTokenAuth,
		AuthParameters: map[string]string{"REFRESH_TOKEN": *s.refresh},
	})
	return access, taken(t, err)
}

func taken(t testing.TB, err error) bool {
	t.Helper()
	if _, ok := errors.AsType[*cognitotypes.NotAuthorizedException](err); !ok && err != nil {
		t.Fatalf("use a token: %v", err)
	}
	return err == nil
}

// Put puts CloudTrail's delivery on the default bus: detail is the record.
func (a *Account) Put(t testing.TB, detail string) {
	t.Helper()
	var record struct{ EventSource string }
	if err := json.Unmarshal([]byte(detail), &record); err != nil {
		t.Fatal(err)
	}
	source := "aws." + strings.TrimSuffix(record.EventSource, ".amazonaws.com")
	out := made[*eventbridge.PutEventsOutput](t, "put event")(a.Events.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []eventbridgetypes.PutEventsRequestEntry{{
		Source: &source, DetailType: new("AWS API Call via CloudTrail"), Detail: &detail,
	}}}))
	if out.FailedEntryCount > 0 {
		t.Fatalf("put event: %v", out.Entries)
	}
}

// Send puts messages into the queue.
func (a *Account) Send(t testing.TB, q Queue, bodies ...string) {
	t.Helper()
	for some := range slices.Chunk(bodies, 10) {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i, body := range some {
			entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: new(strconv.Itoa(i)), MessageBody: &body})
		}
		made[*sqs.SendMessageBatchOutput](t, "send")(a.SQS.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: new(a.urls[q]), Entries: entries}))
	}
}

// URL is the queue's.
func (a *Account) URL(q Queue) string { return a.urls[q] }

// Take takes all messages out of the queue.
func (a *Account) Take(t testing.TB, q Queue) []sqstypes.Message {
	t.Helper()
	var all []sqstypes.Message
	for {
		out := made[*sqs.ReceiveMessageOutput](t, "receive")(a.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: new(a.urls[q]), MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		}))
		if len(out.Messages) == 0 {
			return all
		}
		var read []sqstypes.DeleteMessageBatchRequestEntry
		for _, m := range out.Messages {
			read = append(read, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
		made[*sqs.DeleteMessageBatchOutput](t, "delete messages")(a.SQS.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: new(a.urls[q]), Entries: read}))
		all = append(all, out.Messages...)
	}
}

// Batch is an event of SQS with the messages, as Lambda hands it to a function.
func Batch(t testing.TB, q Queue, messages ...sqstypes.Message) []byte {
	t.Helper()
	records := []map[string]any{}
	for _, m := range messages {
		records = append(records, map[string]any{
			"messageId": aws.ToString(m.MessageId), "receiptHandle": aws.ToString(m.ReceiptHandle), "body": aws.ToString(m.Body),
			"attributes": map[string]string{"ApproximateReceiveCount": "1"}, "messageAttributes": map[string]any{},
			"eventSource": "aws:sqs", "eventSourceARN": q.ARN(), "awsRegion": mototest.Region,
		})
	}
	raw, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Schedules are the timers that stand, whole.
func (a *Account) Schedules(t testing.TB) []*scheduler.GetScheduleOutput {
	t.Helper()
	var all []*scheduler.GetScheduleOutput
	for pages := scheduler.NewListSchedulesPaginator(a.Scheduler, &scheduler.ListSchedulesInput{GroupName: new(ScheduleGroup)}); pages.HasMorePages(); {
		page := made[*scheduler.ListSchedulesOutput](t, "list schedules")(pages.NextPage(t.Context()))
		for _, s := range page.Schedules {
			all = append(all, made[*scheduler.GetScheduleOutput](t, "get schedule")(a.Scheduler.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: s.Name, GroupName: new(ScheduleGroup)})))
		}
	}
	return all
}
