// What there is to see. A view draws itself by `show`, and may return how to end what it began.
import { approvals } from "/views/approvals.js";
import { decisions } from "/views/decisions.js";
import { devices } from "/views/devices.js";
import { me } from "/views/me.js";
import { roles } from "/views/roles.js";
import { security } from "/views/security.js";
import { sessions } from "/views/sessions.js";
import { work } from "/views/work.js";

export const VIEWS = {
  me: { title: "Me", icon: "me", lead: "Everything that can act as you. What you do not know, remove.", draw: me },
  devices: { title: "Devices", icon: "machine", lead: "The machines of your account, and how they are now.", draw: devices },
  work: { title: "Work", icon: "work", lead: "What runs and what waits, on whichever machine; queues, and what is lent.", draw: work },
  approvals: { title: "Approvals", icon: "check", lead: "Commands of great impact need several people, go in waves, and can be stopped by one.", draw: approvals },
  sessions: { title: "Sessions", icon: "session", lead: "Begin on one device, go on on another.", draw: sessions },
  roles: { title: "Roles", icon: "role", lead: "Who else may do something at yours, and until when.", draw: roles },
  security: { title: "Security", icon: "eye", lead: "What is unusual, and what was narrowed because of it.", draw: security },
  decisions: { title: "Decisions", icon: "log", lead: "What this machine decided, and why. Anyone can check it.", draw: decisions },
};
