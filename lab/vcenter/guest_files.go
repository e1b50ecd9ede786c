package main

// guestFilePath is where guest files are transferred.
const guestFilePath = "/guestFile"
