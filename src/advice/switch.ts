import type { SwitchAdvice } from '../audit/types.js';
import type { ProviderName } from '../imds/types.js';

/** How each cloud makes an instance take tokens only, and how that is undone. Upper-case words are to be filled in. */
const SWITCHES: Readonly<Record<ProviderName, Omit<SwitchAdvice, 'provider'>>> = {
  alibaba: {
    text:
      'Takes effect at once, without a restart. Instances with Windows can not be switched. A later Successful Normal Mode ' +
      'Accesses other than 0 in CloudMonitor is a client that the audit did not see.',
    commands: [
      'aliyun ecs ModifyInstanceMetadataOptions --RegionId REGION --InstanceId INSTANCE --HttpEndpoint enabled --HttpTokens required',
    ],
    way_back: [
      'aliyun ecs ModifyInstanceMetadataOptions --RegionId REGION --InstanceId INSTANCE --HttpEndpoint enabled --HttpTokens optional',
    ],
    source:
      'https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-modifyinstancemetadataoptions',
  },
  aws: {
    text:
      'Takes effect at once. Where containers with a network of their own ask too, add --http-put-response-hop-limit 2: the ' +
      'token is else lost on the way to them. MetadataNoTokenRejected in CloudWatch counts who is refused afterwards.',
    commands: [
      'aws ec2 modify-instance-metadata-options --region REGION --instance-id INSTANCE --http-endpoint enabled --http-tokens required',
    ],
    way_back: [
      'aws ec2 modify-instance-metadata-options --region REGION --instance-id INSTANCE --http-endpoint enabled --http-tokens optional',
    ],
    source: 'https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-IMDS-existing-instances.html',
  },
  naver: {
    text:
      "In the console, in the server's settings, change its Metadata version so that only v2 can be used; the way back is " +
      'the same setting, to v1 and v2. No command for it is documented.',
    commands: [],
    way_back: [],
    source: 'https://api.ncloud-docs.com/docs/en/compute-vmetadata-metadatav2',
  },
  huawei: {
    text: 'By the API, with the token of a session as X-Auth-Token; the documents name the LA-Sao Paulo1 region only (December 2025).',
    commands: [
      'curl -X PUT https://ENDPOINT/v1/PROJECT/cloudservers/SERVER/metadata-options -H "X-Auth-Token: $TOKEN" ' +
        `-H 'Content-Type: application/json' -d '{"http_endpoint":"enabled","http_tokens":"required"}'`,
    ],
    way_back: [
      'curl -X PUT https://ENDPOINT/v1/PROJECT/cloudservers/SERVER/metadata-options -H "X-Auth-Token: $TOKEN" ' +
        `-H 'Content-Type: application/json' -d '{"http_endpoint":"enabled","http_tokens":"optional"}'`,
    ],
    source: 'https://support.huaweicloud.com/intl/en-us/api-ecs/en-us_topic_0000002302269598.html',
  },
  volcengine: {
    text: "By the API action ModifyInstanceMetadataOptions, here with the vendor's command line.",
    commands: ['ve ecs ModifyInstanceMetadataOptions --InstanceId INSTANCE --HttpTokens required'],
    way_back: ['ve ecs ModifyInstanceMetadataOptions --InstanceId INSTANCE --HttpTokens optional'],
    source:
      'https://javadoc.io/static/com.volcengine/volcengine-java-sdk-ecs/2.0.11/com/volcengine/ecs/model/ModifyInstanceMetadataOptionsRequest.html',
  },
};

/** Of the providers that there are, each once; a name from a log that is no provider has none. */
export function switchAdvice(providers: Iterable<string>): SwitchAdvice[] {
  return [...new Set(providers)].flatMap((provider) =>
    Object.hasOwn(SWITCHES, provider) ? [{ provider, ...SWITCHES[provider as ProviderName] }] : [],
  );
}
