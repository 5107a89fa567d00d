/** What a list keeps of each of its members, in the member itself: nothing is allocated to move one. */
export interface Listed<T> {
  before: T | undefined;
  after: T | undefined;
}

/**
 * Members in the order of their use. Every step takes a constant time, which Map and Set do not give where what is first
 * is taken out again and again: V8 looks for the first behind the holes of those that went. A member is in one list at most.
 */
export class RecencyList<T extends Listed<T>> {
  /** The least recently added, and the most. */
  first: T | undefined;
  last: T | undefined;
  size = 0;

  add(member: T): void {
    member.before = this.last;
    if (this.last === undefined) this.first = member;
    else this.last.after = member;
    this.last = member;
    this.size++;
  }

  /** Puts it behind another of this list, or first. */
  insert(member: T, before: T | undefined): void {
    const after = before === undefined ? this.first : before.after;
    member.before = before;
    member.after = after;
    if (before === undefined) this.first = member;
    else before.after = member;
    if (after === undefined) this.last = member;
    else after.before = member;
    this.size++;
  }

  /** The member must be in this list. */
  remove(member: T): void {
    const { before, after } = member;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.last = before;
    else after.before = before;
    member.before = undefined;
    member.after = undefined;
    this.size--;
  }
}
