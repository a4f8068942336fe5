#!/bin/sh
# Packages the template for several Regions:
#
#   infra/stackset.sh PREFIX REGION...
#
# Lambda takes code from a bucket of its own Region only. So there is a bucket
# PREFIX-REGION in each one, which the accounts of the StackSet may read; the code
# goes into each, under the same key, and dist/stackset.yaml takes it from that of
# the Region it is deployed in.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { echo 'usage: infra/stackset.sh PREFIX REGION...' >&2; exit 2; }
prefix=$1
shift
rm -f dist/stackset.first
for region; do
  aws cloudformation package --region "$region" --template-file infra/template.yaml --s3-bucket "$prefix-$region" \
    --s3-prefix relatch --output-template-file dist/packaged.yaml >&2
  sed "s|S3Bucket: $prefix-$region\$|S3Bucket: !Sub '$prefix-\${AWS::Region}'|" dist/packaged.yaml >dist/stackset.next
  if [ -e dist/stackset.first ] && ! cmp -s dist/stackset.first dist/stackset.next; then
    echo "what was packaged for $region differs from what was before" >&2
    exit 1
  fi
  mv dist/stackset.next dist/stackset.first
done
mv dist/stackset.first dist/stackset.yaml
echo dist/stackset.yaml
