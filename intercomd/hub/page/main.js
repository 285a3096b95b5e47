import { io } from "./vendor/socket.io.js";
void io;
