#!/usr/bin/env bash
# Proves a deployed stack with a user of its own:
#
#   infra/drill.sh [-s STACK] [-p POOL] [-g GROUP]
#
# It makes a user in the pool, switches the user's MFA off with the AWS CLI, waits
# until Relatch has recorded that, asks for the end, waits until MFA is on again, and
# holds CloudTrail's record of the call against what Relatch assumes of it. Each hop is
# timed. The user and the app client that it made are deleted whatever happens.
#
# With a GROUP that the policy requires MFA of, the alert pages: tell on-call before.
# Its title names the user, relatch-drill-…. Without one it is a warning.
#
# It needs the AWS CLI 2, jq, curl 7.75, openssl and base32, credentials of somebody
# who may administer the pool and has both policies of the stack, and a pool in which MFA is optional.
# DRILL_SECONDS is how long it waits for each hop (1200). RELATCH_OVERRIDE_URL is asked
# instead of the stack's function URL.
set -euo pipefail

stack=relatch pool='' group=''
while getopts s:p:g: option; do
  case $option in
    s) stack=$OPTARG ;;
    p) pool=$OPTARG ;;
    g) group=$OPTARG ;;
    *) exit 2 ;;
  esac
done

fail() { echo "drill: $*" >&2; exit 1; }
for program in aws jq curl openssl base32; do
  command -v "$program" >/dev/null || fail "$program is not on PATH"
done
seconds() { date +%s; }

outputs=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Outputs' --output json)
output() { jq -r --arg key "$1" '.[] | select(.OutputKey == $key) | .OutputValue' <<<"$outputs"; }
table=$(output LedgerTable) url=${RELATCH_OVERRIDE_URL:-$(output OverrideUrl)}
[ "$(output Mode)" = enforce ] || fail "the stack observes: it restores nobody"
pool=${pool:-$(output PoolIds | cut -d, -f1)}
pool=${pool##*/}
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region)}}

name=relatch-drill-$(seconds)
settings=$(aws cognito-idp describe-user-pool --user-pool-id "$pool" --output json)
[ "$(jq -r '.UserPool.UsernameAttributes // [] | index("email") != null' <<<"$settings")" = false ] || name=$name@example.com
[ "$(aws cognito-idp get-user-pool-mfa-config --user-pool-id "$pool" --query MfaConfiguration --output text)" = OPTIONAL ] ||
  fail "MFA is not optional in $pool: nobody can switch it off there"

# ---- A user with an authenticator app ----

user=(--user-pool-id "$pool" --username "$name")
client=''
clean() {
  local said
  said=$(aws cognito-idp admin-delete-user "${user[@]}" 2>&1) || [[ $said == *UserNotFoundException* ]] ||
    echo "LEFT BEHIND, delete it by hand: the user $name in $pool: $said" >&2
  [ -z "$client" ] || aws cognito-idp delete-user-pool-client --user-pool-id "$pool" --client-id "$client" ||
    echo "LEFT BEHIND, delete it by hand: the app client $client in $pool" >&2
}
trap clean EXIT

# totp prints the code of the secret, in base32, at this time (RFC 6238).
totp() {
  local key counter mac offset
  key=$(printf '%s' "$1$(printf '%*s' $(((8 - ${#1} % 8) % 8)) '' | tr ' ' =)" | base32 -d | od -An -v -tx1 | tr -d ' \n')
  counter=$(printf '%016x' $(($(seconds) / 30)) | sed 's/../\\x&/g')
  mac=$(printf '%b' "$counter" | openssl dgst -sha1 -mac HMAC -macopt "hexkey:$key" -binary | od -An -v -tx1 | tr -d ' \n')
  offset=$((16#${mac:39:1} * 2))
  printf '%06d' $(((16#${mac:offset:8} & 0x7fffffff) % 1000000))
}

echo "A user is made: $name in $pool${group:+, in the group $group}."
password="Aa1!$(openssl rand -hex 12)"
sub=$(aws cognito-idp admin-create-user "${user[@]}" --message-action SUPPRESS --query "User.Attributes[?Name=='sub'] | [0].Value" --output text)
aws cognito-idp admin-set-user-password "${user[@]}" --password "$password" --permanent
client=$(aws cognito-idp create-user-pool-client --user-pool-id "$pool" --client-name "$name" \
  --explicit-auth-flows ALLOW_ADMIN_USER_PASSWORD_AUTH ALLOW_REFRESH_TOKEN_AUTH --query UserPoolClient.ClientId --output text)
token=$(aws cognito-idp admin-initiate-auth --user-pool-id "$pool" --client-id "$client" --auth-flow ADMIN_USER_PASSWORD_AUTH \
  --auth-parameters "USERNAME=$name,PASSWORD=$password" --query AuthenticationResult.AccessToken --output text)
secret=$(aws cognito-idp associate-software-token --access-token "$token" --query SecretCode --output text)
code=$(totp "$secret")
aws cognito-idp verify-software-token --access-token "$token" --user-code "$code" >/dev/null
aws cognito-idp admin-set-user-mfa-preference "${user[@]}" --software-token-mfa-settings Enabled=true,PreferredMfa=true
[ -z "$group" ] || aws cognito-idp admin-add-user-to-group "${user[@]}" --group-name "$group"

# ---- The hops ----

began=$(seconds)
hops=()
hop() { hops+=("$(printf '%6d s  %s' $(($(seconds) - began)) "$1")"); echo "${hops[${#hops[@]}-1]}"; }

# until_true runs a command again and again until it succeeds.
until_true() {
  local what=$1 end=$(($(seconds) + ${DRILL_SECONDS:-1200}))
  shift
  until "$@"; do
    [ "$(seconds)" -lt "$end" ] || fail "$what has not happened within ${DRILL_SECONDS:-1200} s"
    sleep 2
  done
}

# entry finds the record of which this is true in the user's journal.
entry() {
  record=$(aws dynamodb query --table-name "$table" --consistent-read --key-condition-expression 'pk = :pk AND begins_with(sk, :sk)' \
    --expression-attribute-values "{\":pk\":{\"S\":\"user/$pool/$sub\"},\":sk\":{\"S\":\"entry/\"}}" --output json |
    jq -c "[.Items[].record.S | fromjson | select($1)] | last // empty")
  [ -n "$record" ]
}

AWS_SDK_UA_APP_ID=relatch-drill aws cognito-idp admin-set-user-mfa-preference "${user[@]}" --software-token-mfa-settings Enabled=false,PreferredMfa=false
hop 'MFA is switched off'
until_true "Relatch's record of it" entry '.verdict == "open"'
hop "Relatch has recorded it: $(jq -r '"override \(.override.id), event of \(.cause.event_time), handled at \(.at)"' <<<"$record")"
echo "          It has sent: $(jq -r '[.alerts[]? | "\(.severity) \(.kind)"] | join(", ")' <<<"$record")"
if [ -t 0 ]; then
  read -r -p '          Press Enter when it has come to you, or write "no": ' came
  hop "the alert came to a person: ${came:-yes}"
fi

# curl signs. Credentials come by standard input, where no other user of the machine sees them.
if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
  credentials=$(jq -n '{AccessKeyId: env.AWS_ACCESS_KEY_ID, SecretAccessKey: env.AWS_SECRET_ACCESS_KEY, SessionToken: env.AWS_SESSION_TOKEN}')
else
  credentials=$(aws configure export-credentials)
fi
answer=$(jq -r '"user = \"\(.AccessKeyId):\(.SecretAccessKey)\"", (.SessionToken // empty | "header = \"x-amz-security-token: \(.)\"")' <<<"$credentials" |
  curl -sS --config - --aws-sigv4 "aws:amz:$region:lambda" -H 'content-type: application/json' \
    --data "{\"do\":\"end\",\"pool_id\":\"$pool\",\"sub\":\"$sub\"}" "$url")
jq -e .override <<<"$answer" >/dev/null || fail "the end was not taken: $answer"
hop 'the end is asked for'
until_true 'the restore' entry '.override.closed == "restored"'
hop "Relatch has restored it: $(jq -r '"closed \(.override.closed // "not"), \([.actions[] | "\(.do) \(.result)"] | join(", "))"' <<<"$record")"
aws cognito-idp admin-get-user "${user[@]}" --query UserMFASettingList --output text | grep -q SOFTWARE_TOKEN_MFA || fail 'Cognito does not show MFA as on'
hop 'Cognito shows MFA as on'

# ---- What CloudTrail wrote ----

# written finds the record of the disable: of the calls about the user since then, the
# oldest one that is not reenable's.
written() {
  event=$(aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=AdminSetUserMFAPreference \
    --start-time "$began" --output json | jq -c --arg sub "$sub" --arg name "$name" \
    '[.Events[].CloudTrailEvent | fromjson | select(.additionalEventData.sub == $sub or .requestParameters.username == $name or ((.userAgent // "") | contains("app/relatch-drill"))) |
      select((.userIdentity.sessionContext.sessionIssuer.userName // "") | endswith("-reenable") | not)] | last // empty')
  [ -n "$event" ]
}
until_true "CloudTrail's record" written
hop 'CloudTrail shows its record'
echo
echo "What aws-facts.md, section 10, holds for unverified, and what is so:"
jq -r --arg sub "$sub" '
  def line(what; is): "  \(if is then "as assumed" else "DIFFERENT " end)  \(what)";
  line("requestParameters has softwareTokenMfaSettings, spelt so"; .requestParameters | has("softwareTokenMfaSettings")),
  line("enabled is shown as false"; .requestParameters.softwareTokenMfaSettings.enabled? == false),
  line("additionalEventData.sub is the user"; .additionalEventData.sub? == $sub),
  line("the username is hidden"; .requestParameters.username == "HIDDEN_DUE_TO_SECURITY_REASONS"),
  line("readOnly is false"; .readOnly == false),
  line("the application id is in userAgent"; (.userAgent // "") | contains("app/relatch-drill"))' <<<"$event"
echo 'The record:'
jq . <<<"$event"
echo
echo 'Seconds since MFA was switched off:'
printf '%s\n' "${hops[@]}"
