"""The three trees: what the card has, what the tests' machine has, and where Python's parts are built for both."""

from hw.image.trees import Recipe

STATION = (
    "alsa-utils",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "libasound2t64",
    "libopus0",
    "libsystemd0",
    "python3",
    "systemd-sysv",
    "udev",
)
"""What a station needs of Debian, on whatever it runs."""

CARD = Recipe(
    "card",
    "arm64",
    (
        *STATION,
        "dosfstools",
        "firmware-brcm80211",
        # Named, or apt takes dracut, which under emulation works for a quarter of an hour.
        "initramfs-tools",
        # Without it systemd-resolved takes no host name for its own and answers nobody who asks for this station's
        # (systemd issue 18078); Debian only recommends it.
        "libidn2-0",
        # getaddrinfo finds the hub as hub.local: systemd-resolved asks by multicast.
        "libnss-resolve",
        "linux-image-arm64",
        "openssh-server",
        "raspi-firmware",
        "systemd-resolved",
        "systemd-timesyncd",
        # With systemd-networkd 3 MB; NetworkManager, which brings wpa_supplicant too, 25 MB.
        "wireless-regdb",
        "wpasupplicant",
        # For the initial RAM disk, which gzip would pack and unpack several times slower.
        "zstd",
    ),
)

MACHINE = Recipe(
    "machine",
    "amd64",
    (*STATION, "gpiod", "initramfs-tools", "linux-image-amd64", "procps"),
    modules=("virtio_pci", "virtio_blk", "ext4", "overlay"),
)

MAKER = Recipe(
    "maker",
    "amd64",
    (
        "ca-certificates", "g++", "gcc", "gcc-aarch64-linux-gnu", "libasound2-dev", "libasound2-dev:arm64",
        "libc6-dev:arm64", "libpython3-dev:arm64", "libsystemd-dev", "libsystemd-dev:arm64", "make", "pkg-config",
        "python3-dev", "python3-pip", "python3-venv", "swig",
    ),
    foreign=("arm64",),
)  # fmt: skip
"""Three packages of Python have no wheel for arm64 and this Python. They are compiled here, for the other processor:
under emulation the compiler alone would take longer than the whole image."""
