// What there is to see. A view draws itself by `show`, and may return how to end what it began.
import { devices } from "/views/devices.js";
import { me } from "/views/me.js";
import { sessions } from "/views/sessions.js";

export const VIEWS = {
  me: { title: "Me", icon: "me", lead: "Everything that can act as you. What you do not know, remove.", draw: me },
  devices: { title: "Devices", icon: "machine", lead: "The machines of your account, and how they are now.", draw: devices },
  sessions: { title: "Sessions", icon: "session", lead: "Begin on one device, go on on another.", draw: sessions },
};
