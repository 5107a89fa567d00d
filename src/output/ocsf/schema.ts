/** Names and numbers of the Open Cybersecurity Schema Framework, https://schema.ocsf.io/1.8.0/ */
export const OCSF_VERSION = '1.8.0';

interface EventClass {
  readonly class_uid: number;
  readonly class_name: string;
  readonly category_uid: number;
  readonly category_name: string;
}

/** Those that the tracer's events are of. */
export const CLASSES = {
  base: { class_uid: 0, class_name: 'Base Event', category_uid: 0, category_name: 'Uncategorized' },
  compliance: { class_uid: 2003, class_name: 'Compliance Finding', category_uid: 2, category_name: 'Findings' },
  detection: { class_uid: 2004, class_name: 'Detection Finding', category_uid: 2, category_name: 'Findings' },
  network: { class_uid: 4001, class_name: 'Network Activity', category_uid: 4, category_name: 'Network Activity' },
  http: { class_uid: 4002, class_name: 'HTTP Activity', category_uid: 4, category_name: 'Network Activity' },
  lifecycle: {
    class_uid: 6002,
    class_name: 'Application Lifecycle',
    category_uid: 6,
    category_name: 'Application Activity',
  },
  error: { class_uid: 6008, class_name: 'Application Error', category_uid: 6, category_name: 'Application Activity' },
} as const satisfies Record<string, EventClass>;

/** What an event is: its class and its activity, in numbers and in words. */
export function eventType(eventClass: EventClass, activityId: number, activityName: string) {
  return {
    ...eventClass,
    activity_id: activityId,
    activity_name: activityName,
    type_uid: eventClass.class_uid * 100 + activityId,
    type_name: `${eventClass.class_name}: ${activityName}`,
  };
}

/** Activity of a class that names none that fits. */
export const OTHER_ACTIVITY = 99;

export const SEVERITY = {
  informational: { severity_id: 1, severity: 'Informational' },
  low: { severity_id: 2, severity: 'Low' },
  medium: { severity_id: 3, severity: 'Medium' },
  high: { severity_id: 4, severity: 'High' },
  critical: { severity_id: 5, severity: 'Critical' },
} as const;

export const STATUS = {
  unknown: { status_id: 0, status: 'Unknown' },
  success: { status_id: 1, status: 'Success' },
  failure: { status_id: 2, status: 'Failure' },
} as const;

/** Of the profile security_control: what became of a request. */
export const CONTROL = {
  allowed: { action_id: 1, action: 'Allowed', disposition_id: 1, disposition: 'Allowed' },
  approved: { action_id: 1, action: 'Allowed', disposition_id: 8, disposition: 'Approved' },
  blocked: { action_id: 2, action: 'Denied', disposition_id: 2, disposition: 'Blocked' },
  rejected: { action_id: 2, action: 'Denied', disposition_id: 25, disposition: 'Rejected' },
  unauthorized: { action_id: 2, action: 'Denied', disposition_id: 26, disposition: 'Unauthorized' },
  detected: { action_id: 3, action: 'Observed', disposition_id: 15, disposition: 'Detected' },
  logged: { action_id: 3, action: 'Observed', disposition_id: 17, disposition: 'Logged' },
} as const;
