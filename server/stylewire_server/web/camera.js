// A photo from the camera: a viewfinder if the browser allows it, else the camera application of the phone.

const get = (id) => document.getElementById(id);

/** Prepare the button; `take` gets the photo as a file, `fail` a message. */
export function prepareCamera(take, fail) {
  // Browsers allow the camera only to pages of localhost and of HTTPS.
  if (!navigator.mediaDevices?.getUserMedia) {
    get("camera").hidden = true;
    const touch = matchMedia("(pointer: coarse)").matches;
    get("snap").hidden = get("snap-label").hidden = !touch;
    get("snap").addEventListener("change", () => {
      if (get("snap").files[0]) take(get("snap").files[0]);
      get("snap").value = "";
    });
    return;
  }
  const dialog = get("camera-dialog");
  const view = get("viewfinder");
  const stop = () => {
    for (const track of view.srcObject?.getTracks() ?? []) track.stop();
    view.srcObject = null;
  };
  get("camera").addEventListener("click", async () => {
    try {
      view.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 1920 } });
      dialog.showModal();
    } catch (error) {
      const denied = error.name === "NotAllowedError";
      fail(denied ? "The browser does not let this page use the camera." : "No camera was found.");
    }
  });
  dialog.addEventListener("close", stop);
  get("shoot").addEventListener("click", async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [view.videoWidth, view.videoHeight];
    canvas.getContext("2d").drawImage(view, 0, 0);
    dialog.close();
    canvas.toBlob((blob) => take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
  });
}
